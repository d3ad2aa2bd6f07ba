"""A small run that several tests write to a file: two tail indices, two noise levels, 40 trajectories."""

RUN = """
[landscape]
kind = "quadratic"
hessian = [1.0, 0.5]
[basin]
kind = "box"
lower = [-1.0, -1.0]
upper = [1.0, 1.0]
[dynamics]
kind = "sgd"
[noise]
kind = "independent"
alpha = [1.2, 1.8]
[run]
noise_level = [0.5, 0.25]
dt = 0.1
num_trajectories = 40
"""
