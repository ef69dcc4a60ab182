"""Running models over a corpus, scoring what they answer, and the statistics and leaderboard."""
