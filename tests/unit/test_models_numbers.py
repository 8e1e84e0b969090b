"""Front ends against their formulas in numpy and scipy; experts against known counts and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch

from veravox.errors import ConfigurationError
from veravox.models import EXPERTS, FRONT_ENDS, DetectorModel, DetectorSpec
from veravox.models.layers.max_feature_map import MaxFeatureMap
from veravox.models.layers.sinc import filter_by_spectrum, mel_sinc_filters

RATE = 16000


@pytest.fixture(scope="module")
def waveform() -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)


def power_of(waveform: np.ndarray, fft: int, frame: int, hop: int) -> np.ndarray:
    """Frame by frame, centred, edges reflected: (fft // 2 + 1, frames)."""
    padded = np.pad(waveform.astype(np.float64), fft // 2, mode="reflect")
    window = np.zeros(fft)
    window[(fft - frame) // 2 : (fft + frame) // 2] = scipy.signal.get_window("hamming", frame, fftbins=True)
    frames = [padded[start : start + fft] * window for start in range(0, len(padded) - fft + 1, hop)]
    return np.abs(np.fft.rfft(frames, axis=1)).T ** 2


def triangles(edges_hz: np.ndarray, bins: int) -> np.ndarray:
    frequencies = np.linspace(0, RATE / 2, bins)
    rows = [
        np.interp(frequencies, edges_hz[i : i + 3], [0.0, 1.0, 0.0], left=0.0, right=0.0)
        for i in range(len(edges_hz) - 2)
    ]
    return np.array(rows)


def emphasised(waveform: np.ndarray) -> np.ndarray:
    return scipy.signal.lfilter([1, -0.97], [1], waveform.astype(np.float64))


def heard(name: str, waveform: np.ndarray, **options: object) -> np.ndarray:
    front_end = FRONT_ENDS[name](**options)
    return front_end(torch.from_numpy(waveform)[None])[0].numpy()


def test_log_mel_is_its_formula(waveform):
    mels = np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + 7600 / 700), 82)
    filters = triangles(700 * (10 ** (mels / 2595) - 1), 257)
    expected = np.log(filters @ power_of(emphasised(waveform), 512, 400, 160) + 1e-6)
    expected -= expected.mean(axis=1, keepdims=True)
    ours = heard("log_mel", waveform)
    assert ours.shape == (80, 101)
    np.testing.assert_allclose(ours, expected, atol=2e-3)


def test_log_mel_that_reflects_has_the_published_pre_emphasis(waveform):
    before = np.concatenate([waveform[1:2], waveform]).astype(np.float64)
    mels = np.linspace(2595 * np.log10(1 + 20 / 700), 2595 * np.log10(1 + 7600 / 700), 82)
    filters = triangles(700 * (10 ** (mels / 2595) - 1), 257)
    expected = np.log(filters @ power_of(before[1:] - 0.97 * before[:-1], 512, 400, 160) + 1e-6)
    expected -= expected.mean(axis=1, keepdims=True)
    ours = heard("log_mel", waveform, reflect=True)
    np.testing.assert_allclose(ours, expected, atol=2e-3)
    assert np.abs(ours - heard("log_mel", waveform))[:, 2:].max() < 0.1


def test_lcnn_is_the_published_network_in_evaluation_and_in_training():
    """Values that polimi-ispl/moe_speech_deepfake's class gave for these weights and features."""
    network = EXPERTS["lcnn"]().double()
    with torch.no_grad():
        for place, parameter in enumerate(network.parameters()):
            count, fan = parameter.numel(), parameter.numel() // len(parameter)
            values = torch.sin(torch.arange(count, dtype=torch.float64) * 0.7 + place) * (2 / fan) ** 0.5
            parameter.copy_(values.view_as(parameter).float())
        features = 2 * torch.sin(torch.arange(2 * 80 * 101, dtype=torch.float64) * 0.37).view(2, 80, 101)
        features -= features.mean(dim=2, keepdim=True)
        for training, published in ((False, [1.4557006e-4, 1.4568028e-4]), (True, [4.8903221e-4, 1.47200834e-3])):
            network.train(training)
            assert network(features).class_logits.softmax(dim=1)[:, 1].numpy() == pytest.approx(
                published, rel=1e-6
            )
        embeddings = network.eval()(features).embeddings[0, [0, 31, 63]]  # by the statistics gathered
    assert embeddings.numpy() == pytest.approx([1.53024232, 1.39471610, 0.76188801], rel=1e-8)


def test_lcnn_starts_as_published_where_asked():
    torch.manual_seed(0)
    network = EXPERTS["lcnn"](start="xavier")
    for layer in (network.embed[1], network.head):
        assert (layer.bias == 0.01).all()
        bound = (6 / sum(layer.weight.shape)) ** 0.5
        assert 0.9 * bound < layer.weight.abs().max() <= bound


def test_log_spectrogram_is_its_formula(waveform):
    expected = np.log(power_of(waveform, 512, 400, 160) + 1e-6)
    ours = heard("log_spectrogram", waveform, remove_mean=False)
    assert ours.shape == (257, 101)
    np.testing.assert_allclose(np.exp(ours), np.exp(expected), rtol=1e-3, atol=1e-6)


# Rows 0-2, 19-21, 39-41 and 59, frames 0, 1, 50 and 100, of the published code on `waveform`.
PUBLISHED_LFCC = [
    [-0.995373, -0.669650, -0.679954, -0.966253],
    [-2.182189, -2.543198, -2.362056, -2.667418],
    [-0.313621, -0.747271, -1.271106, -0.104272],
    [-0.147580, 0.029058, 0.077047, 0.049954],
    [0.325723, 0.354144, -0.070993, -0.257634],
    [-0.361009, -0.900738, 0.154895, -0.434072],
    [0.176637, 0.179360, -0.195907, 0.172518],
    [0.028421, -0.247462, 0.042665, -0.079182],
    [-0.539729, 0.191973, 0.189442, -0.152829],
    [0.002723, -0.472588, -0.449875, 0.136606],
]


def test_lfcc_is_that_of_the_published_baseline(waveform):
    ours = heard("lfcc", waveform)
    assert ours.shape == (60, 101)
    chosen = ours[[0, 1, 2, 19, 20, 21, 39, 40, 41, 59]][:, [0, 1, 50, 100]]
    np.testing.assert_allclose(chosen, PUBLISHED_LFCC, atol=1e-5)


def test_lfcc_of_silence_and_of_a_tone_are_those_of_the_published_baseline():
    silence, tone = np.zeros(RATE, np.float32), np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)
    assert heard("lfcc", silence)[0] == pytest.approx(
        np.full(101, -6.9237), abs=1e-4
    )  # log10 of float32's epsilon
    assert heard("lfcc", tone)[:4, 0] == pytest.approx(
        [-0.3235, 3.4247, 1.3137, 0.7448], abs=1e-3
    )  # half of it zeros


@pytest.mark.parametrize("taps", [129, 1025])
def test_sinc_filters_pass_their_band_and_stop_the_others(taps):
    filters = mel_sinc_filters(20, taps).numpy()
    mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 21)
    edges = 700 * (10 ** (mels / 2595) - 1)
    np.testing.assert_allclose(filters, filters[:, ::-1], atol=1e-7)
    for index in (14, 17):  # bands wider than the filters' transition
        frequencies, response = scipy.signal.freqz(filters[index], worN=4096, fs=RATE)
        inside = (frequencies > edges[index] + 150) & (frequencies < edges[index + 1] - 150)
        outside = (frequencies < edges[index] - 300) | (frequencies > edges[index + 1] + 300)
        assert np.abs(np.abs(response[inside]) - 1).max() < 0.05
        assert np.abs(response[outside]).max() < 0.01


def test_filtering_by_spectrum_is_sliding(waveform):
    filters = mel_sinc_filters(20, 1025)
    windows = torch.from_numpy(waveform)[None]
    slid = torch.nn.functional.conv1d(windows[:, None], filters[:, None])
    torch.testing.assert_close(filter_by_spectrum(windows, filters), slid, atol=1e-6, rtol=1e-4)


def test_aasist_listens_as_a_convolution_and_a_pool_would(waveform):
    from veravox.models.experts.aasist import SincMagnitude

    windows = torch.from_numpy(waveform)[None]
    slid = torch.nn.functional.conv1d(windows[:, None], mel_sinc_filters(70, 129)[:, None])
    expected = torch.nn.functional.max_pool2d(slid[:, None].abs(), 3)
    torch.testing.assert_close(SincMagnitude()(windows), expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "supplied", "parameters"),
    [
        ("lcnn", {}, 682_690),
        ("aasist", {"feature_shape": (64600,)}, 297_866),
        ("aasist_l", {"feature_shape": (64600,)}, 85_306),
        ("rawnet2", {"feature_shape": (64600,)}, 17_621_410),  # published: 17.62 M
        ("lcnn_lstm", {"feature_shape": (60, 404)}, 269_729),
        ("resnet", {}, 700_786),
    ],
)
def test_experts_have_their_known_number_of_parameters(name, supplied, parameters):
    expert = EXPERTS[name](**supplied)
    assert sum(parameter.numel() for parameter in expert.parameters()) == parameters


def test_resnet_18_has_its_known_number_of_parameters():
    network = EXPERTS["resnet"](widths=(64, 128, 256, 512))
    # torchvision's ResNet-18 has 11,689,512: ours has one input channel and two classes.
    expected = 11_689_512 - 2 * 64 * 7 * 7 - (512 * 1000 + 1000) + (512 * 2 + 2)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_the_gradient_of_max_feature_map_is_that_of_its_formula():
    inputs = torch.randn(2, 6, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(MaxFeatureMap(), (inputs,))
    first, second = inputs.chunk(2, dim=1)
    upstream = torch.randn(2, 3, 3, 2, dtype=torch.float64)
    (expected,) = torch.autograd.grad(torch.maximum(first, second), inputs, upstream)
    for layout in (torch.contiguous_format, torch.channels_last):
        (ours,) = torch.autograd.grad(MaxFeatureMap()(inputs.contiguous(memory_format=layout)), inputs, upstream)
        assert torch.equal(ours, expected)


def test_max_feature_map_takes_the_larger_half():
    inputs = torch.tensor([[1.0, -2.0, 0.5, 3.0]])
    assert MaxFeatureMap()(inputs).tolist() == [[1.0, 3.0]]


@pytest.mark.parametrize(
    ("front_end", "expert", "window_s", "message"),
    [
        ("waveform", "lcnn", 1.0, r"'lcnn' needs spectral features .* shape \(16000,\)"),
        ("waveform", "resnet", 1.0, "'resnet' needs spectral features"),
        ("log_mel", "lcnn", 0.05, r"at least 8 bins and 8 frames; features here have shape \(80, 6\)"),
        ("lfcc", "resnet", 0.02, "windows of 320 samples are too short for an fft of 1024; set a longer window_s"),
        ({"name": "log_mel", "fft": 256}, "resnet", 1.0, "not fft 256, frame 400, hop 160"),
        ({"name": "log_spectrogram", "hop": 0}, "resnet", 1.0, "a hop from 1"),
        ({"name": "log_mel", "max_frequency_hz": 8500.0}, "resnet", 1.0, "in rising order from 0 to 8000 Hz"),
        (
            {"name": "log_mel", "min_frequency_hz": 7700.0},
            "resnet",
            1.0,
            "80 bands from 7700 to 7600 Hz cannot be",
        ),
        ({"name": "lfcc", "coefficients": 0}, "resnet", 1.0, "0 bands"),
    ],
)
def test_parts_that_do_not_go_together_are_refused_when_built(front_end, expert, window_s, message):
    experts = {"one": {"front_end": "heard", "name": expert}}
    spec = DetectorSpec.parse({"front_ends": {"heard": front_end}, "experts": experts, "window_s": window_s})
    with pytest.raises(ConfigurationError, match=message):
        DetectorModel(spec)
