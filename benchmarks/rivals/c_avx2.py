"""The C program with AVX2, whatever wider vectors the processor has."""

from functools import partial

from . import c_program

NAME, SHARE = "C program (gcc -O3, OpenMP, AVX2)", 1
increments = partial(c_program.increments, vectors=c_program.AVX2)
