"""A gradient estimator of your own: the score function, with the mean cost of the call's other draws as baseline."""

import torch

import labkit as lk
from labkit.estimators import Estimate, Estimator


@lk.register_estimator("two-draws")
class TwoDraws(Estimator):
    relaxes = False  # it evaluates no relaxed network
    least_draws = 2

    def __call__(self, cost, dist, n, generator, control=None):
        sample = dist.sample(n, 1.0, generator)
        with torch.no_grad():
            value = cost(sample.hard)
        others = (value.sum() - value) / (n - 1)
        surrogate = ((value - others) * sample.log_prob).mean()
        (gradient,) = torch.autograd.grad(surrogate, dist.logits)
        return Estimate(gradient, value.mean().item())


if __name__ == "__main__":
    lk.checks.check_estimator("two-draws")
    print("two-draws is unbiased")
