"""The benchmarks of levyjax: one module a topic, each with `run(quick)`, run and drawn by `levyjax bench`."""

TOPICS = {
    "device": "the device, the compilers, and which rivals are here",
    "ceilings": "what this processor can do at most: integer, float and special-function operations a second",
    "increments": "increments a second of levyjax and its rivals, by dtype, noise and gradient",
    "scaling": "trajectory-steps a second against the dimension and the number of trajectories",
    "exits": "exits a second of the engine and of vmap(while_loop)",
    "cost": "what a mean exit time to 1% costs against the noise level",
    "work_precision": "error of mean exit times and rates against seconds, by exact values",
    "agreement": "mean exit times by four methods, and why they differ where they do",
    "crosscheck": "random exit problems under symmetries and by several methods: what does not agree",
    "validity": "whether predictions called valid are within 2% of exact means, and how many close ones are called so",
    "startup": "seconds until the first result, programs compiled, peak memory",
    "training": "what statistics of gradient noise cost over the gradients, and training beside a lean optax loop",
    "law": "functions of the stable law: points a second beside SciPy, errors against a table of 20 digits",
    "tail_estimators": "tail-index estimators: bias, error, coverage and time beside the Cramér-Rao bound",
    "network_escapes": "exits of real networks beside those under models of their noise",
    "tail_verdicts": "the verdict of the audit on laws whose answer is known",
    "false_alarms": "the checks of the law tests over many seeds: stated and measured rates of false alarms",
    "long_run": "ten billion trajectory-steps in one process: peak memory, and the law of the first and last exits",
    "tail_counts": "the far tail of the float32 sampler, counted",
}
