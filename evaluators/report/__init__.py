"""The leaderboard: runs gathered into a board, answers and clips to look at, and the files made of them."""
