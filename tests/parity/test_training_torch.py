"""The backward pass against torch: autograd on transformers' model, and its optimiser."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minioss
from minioss.training import adamw, router
from minioss.training.parameters import assembled, named
from minioss.training.transformer import loss_and_gradients
from tests.training import perturbed, random_batch, training_configs

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
transformers_float64 = pytest.importorskip("tests.parity.transformers_float64")
theirs = pytest.importorskip("tests.parity.transformers_training")


@settings(max_examples=40)
@given(training_configs(), st.integers(1, 3), st.integers(0, 2**32), st.sampled_from([0.0, 0.3]))
def test_gradients_of_the_whole_model(config, sequences, seed, balance):
    masters = perturbed(config, seed)
    batch = random_batch(config, sequences, 2 * config.sliding_window + 1 + seed % 40, seed)
    tokens, targets, counts = (torch.from_numpy(part.reshape(sequences, -1)) for part in batch[:3])

    model = transformers_float64.in_float64(theirs.model_of(config, masters))
    out = model(input_ids=tokens, use_cache=False, output_router_logits=True)
    each = torch.nn.functional.cross_entropy(out.logits.flatten(0, 1), targets.ravel(), reduction="none")
    cross_entropy = (each * counts.ravel()).sum()
    of_balance = theirs.balance_loss(out.router_logits, config.num_experts_per_tok)
    (cross_entropy + balance * of_balance).backward()

    losses, gradients = loss_and_gradients(assembled(masters), batch, config, balance)
    assert np.isclose(losses.cross_entropy, cross_entropy.item(), rtol=1e-12, atol=0)
    assert np.isclose(losses.balance, of_balance.item(), rtol=1e-12, atol=0)
    expected = theirs.gradients(model, config)
    # A gradient may be zero but for rounding: the router's where A = 1 and all shares are equal.
    rounding = 1e-15 * max(map(np.linalg.norm, expected.values()))
    for name, gradient in named(gradients).items():
        assert np.linalg.norm(gradient - expected[name]) <= 1e-9 * np.linalg.norm(expected[name]) + rounding, name


@given(st.integers(0, 2**32), st.integers(2, 9), st.data())
def test_the_balance_loss_is_that_of_transformers_over_the_active_experts(seed, experts, data):
    from transformers.models.gpt_oss.modeling_gpt_oss import load_balancing_loss_func

    active = data.draw(st.integers(1, experts))
    random = np.random.default_rng(seed)
    x, weights = (
        random.standard_normal((50, 7)),
        minioss.linear.Linear(random.standard_normal((experts, 7)), np.zeros(experts)),
    )
    _, saved = router.forward(x, weights, active)
    loss, _ = router.load_balance(saved)
    expected = load_balancing_loss_func((torch.from_numpy(saved.logits_TE),), experts, active) / active
    assert np.isclose(loss, expected.item(), rtol=1e-6)


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.1]), st.floats(0.5, 0.99), st.floats(0.5, 0.999))
def test_adamw_is_that_of_torch(seed, decay, beta1, beta2):
    random = np.random.default_rng(seed)
    weight = random.standard_normal((5, 7))
    parameter = torch.nn.Parameter(torch.from_numpy(weight.copy()))
    optimizer = torch.optim.AdamW([parameter], betas=(beta1, beta2), eps=1e-8, weight_decay=decay)
    mean, square = np.zeros_like(weight), np.zeros_like(weight)
    for step in range(1, 6):
        gradient, rate = random.standard_normal(weight.shape), random.random()
        parameter.grad, optimizer.param_groups[0]["lr"] = torch.from_numpy(gradient), rate
        optimizer.step()
        adamw.update(weight, gradient, mean, square, step, rate, adamw.AdamW(beta1, beta2, 1e-8, decay))
    assert np.allclose(weight, parameter.detach().numpy(), rtol=1e-12, atol=1e-14)


@given(st.integers(0, 2**32), st.floats(0.1, 20))
def test_clipping_is_that_of_torch(seed, largest):
    random = np.random.default_rng(seed)
    gradients = [random.standard_normal(shape) for shape in ((3, 4), (5,))]
    parameters = [torch.nn.Parameter(torch.zeros(gradient.shape, dtype=torch.float64)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients):
        parameter.grad = torch.from_numpy(gradient.copy())
    expected = torch.nn.utils.clip_grad_norm_(parameters, largest).item()
    assert np.isclose(adamw.clip(gradients, largest), expected)
    for parameter, gradient in zip(parameters, gradients):
        assert np.allclose(gradient, parameter.grad.numpy(), rtol=1e-5)  # torch adds 1e-6 to the norm
