"""Mistakes in RMSNorm, wherever it stands."""

import numpy as np

from minioss.verify.faults.catalogue import mistake

EPS = "1e-5 (`rms_norm_eps`) is added to the mean square, under the root."
GAIN = "The gain multiplies as it is stored."


@mistake("rmsnorm.rms_norm", official=EPS)
def norm_eps_1e_6(right, x_TD, gain_D, eps):
    """Epsilon is 1e-6, whatever the config says."""
    return right(x_TD, gain_D, 1e-6)


@mistake("rmsnorm.rms_norm", official=EPS)
def norm_eps_outside(right, x_TD, gain_D, eps):
    """Epsilon is added to the root instead of under it."""
    return x_TD / (np.sqrt(np.mean(np.square(x_TD), axis=-1, keepdims=True)) + eps) * gain_D


@mistake("rmsnorm.rms_norm", official=GAIN)
def norm_gain_plus_one(right, x_TD, gain_D, eps):
    """One is added to the gain."""
    return right(x_TD, gain_D + 1, eps)


@mistake("rmsnorm.rms_norm", official=GAIN)
def norm_gain_missing(right, x_TD, gain_D, eps):
    """There is no gain."""
    return right(x_TD, np.ones_like(gain_D), eps)


@mistake("rmsnorm.rms_norm", official="There is no mean to subtract.")
def norm_mean_subtracted(right, x_TD, gain_D, eps):
    """The mean is subtracted first: LayerNorm."""
    return right(x_TD - x_TD.mean(axis=-1, keepdims=True), gain_D, eps)


@mistake("rmsnorm.rms_norm", official="Vectors come to unit root mean square: the squares are averaged.")
def norm_sum_of_squares(right, x_TD, gain_D, eps):
    """Vectors are divided by their length: the squares are summed."""
    return x_TD / np.sqrt(np.sum(np.square(x_TD), axis=-1, keepdims=True) + eps) * gain_D


@mistake("transformer.unembed", official="The last norm has a gain of its own.")
def norm_last_gain_missing(right, x_TD, weights, config):
    """The last norm has no gain."""
    return right(x_TD, weights._replace(norm=np.ones(weights.norm.shape, np.float32)), config)
