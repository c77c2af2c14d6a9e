"""Decisions on evidence, valid however often they are looked at (formulas and sources: `intervals`)."""

from llmmigrate.gates.detectors import ShiryaevRoberts
from llmmigrate.gates.intervals import beta_binomial_log_e, normal_mixture_half_width, proportion_interval
from llmmigrate.gates.quantiles import quantile_difference, quantile_interval

__all__ = [
    "ShiryaevRoberts",
    "beta_binomial_log_e",
    "normal_mixture_half_width",
    "proportion_interval",
    "quantile_difference",
    "quantile_interval",
]
