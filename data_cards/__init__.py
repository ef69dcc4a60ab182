"""The built-in prompt sets with their data statements, and the template of the dataset card."""
