"""Decisions on evidence, valid however often they are looked at (formulas and sources: the modules)."""

from llmmigrate.gates.detectors import ShiryaevRoberts
from llmmigrate.gates.intervals import beta_binomial_log_e, normal_mixture_half_width, proportion_interval
from llmmigrate.gates.quantiles import quantile_bound, quantile_difference, quantile_floor, quantile_interval
from llmmigrate.gates.ratios import event_increase, event_share, sample_ratio_log_e

__all__ = [
    "ShiryaevRoberts",
    "beta_binomial_log_e",
    "event_increase",
    "event_share",
    "normal_mixture_half_width",
    "proportion_interval",
    "quantile_bound",
    "quantile_difference",
    "quantile_floor",
    "quantile_interval",
    "sample_ratio_log_e",
]
