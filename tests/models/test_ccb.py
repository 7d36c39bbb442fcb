import pytest
import torch

from ccb_lib.models.ccb import ChainOfConvBlocks, Discriminator, Generator, count_parameters

TABLE_6 = [(4, 3, 2, 1), (8, 6, 4, 2), (16, 12, 8, 4), (24, 18, 12, 6), (32, 24, 16, 8)]


def conv(inputs, outputs, kernel, bias=False):
    return inputs * outputs * kernel**2 + bias * outputs


def test_parameter_counts_from_the_layer_facts():
    down = (
        conv(3, 64, 4)
        + conv(64, 128, 4)
        + conv(128, 256, 4)
        + conv(256, 512, 4)
        + conv(512, 512, 4)
    )
    up = (
        conv(512, 512, 4)
        + conv(1024, 256, 4)
        + conv(512, 128, 4)
        + conv(256, 64, 4)
        + conv(128, 3, 4, bias=True)
    )
    norms = 2 * (128 + 256 + 512) + 2 * (512 + 256 + 128 + 64)
    assert count_parameters(Generator(chain=(0, 0, 0, 0))) == down + up + norms == 16_659_075

    chains = 4 * conv(64, 64, 3, True) + 3 * conv(128, 128, 3, True) + 2 * conv(256, 256, 3, True)
    chains += conv(512, 512, 3, True)
    assert count_parameters(Generator().skips) == chains == 4_130_432
    assert count_parameters(Generator()) == 16_659_075 + 4_130_432

    d = (
        conv(3, 64, 4)
        + conv(64, 128, 4)
        + conv(128, 256, 4)
        + 2 * (128 + 256)
        + conv(256, 100, 4)
        + conv(100, 1, 3)
    )
    assert count_parameters(Discriminator()) == d == 1_069_700


@pytest.mark.parametrize("factor", [1, 2, 4, 6, 8])
def test_chains_of_table_6_grow_in_proportion(factor):
    chain = TABLE_6[[1, 2, 4, 6, 8].index(factor)]
    with torch.device("meta"):
        assert count_parameters(Generator(chain=chain).skips) == factor * 4_130_432


@pytest.mark.parametrize("image_size", [32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(image_size, channels):
    x = torch.rand(2, channels, image_size, image_size) * 2 - 1
    generator = Generator(channels, width=4, chain=(2, 0, 1, None))
    x_hat = generator(x)
    assert x_hat.shape == x.shape
    assert x_hat.abs().max() <= 1
    assert generator.encode(x)[-1].shape == (2, 32, image_size // 32, image_size // 32)
    logits, z = Discriminator(channels, image_size, width=4)(x)
    assert logits.shape == (2,)
    assert z.shape == (2, 100, 1, 1)


def test_chain_of_length_zero_is_the_identity():
    x = torch.rand(1, 4, 8, 8)
    assert torch.equal(ChainOfConvBlocks(4, 0)(x), x)


def test_an_identity_skip_hands_over_the_map_and_none_hands_over_nothing():
    torch.manual_seed(0)
    plain, none = (Generator(1, 4, chain).eval() for chain in ((0, 0, 0, 0), (None,) * 4))
    x = torch.rand(1, 1, 32, 32)
    maps = plain.encode(x)
    changed = [maps[0] + 1, *maps[1:]]
    assert not torch.equal(plain.decode(maps)[-1], plain.decode(changed)[-1])
    maps = none.encode(x)
    assert torch.equal(none.decode(maps)[-1], none.decode([maps[0] + 1, *maps[1:]])[-1])


@pytest.mark.parametrize("start", ["he", "zero"])
def test_residual_chains_from_zero_start_as_plain_skips_and_can_learn(start):
    chains = {"chain": (4, 3, 2, 1), "chain_residual": True, "chain_residual_start": start}
    torch.manual_seed(0)
    residual = Generator(3, 8, dropout=0.0, **chains)
    torch.manual_seed(0)
    plain = Generator(3, 8, (0, 0, 0, 0), dropout=0.0)
    x = torch.rand(8, 3, 32, 32) * 2 - 1
    maps = plain.encode(x)
    grown = [
        (skip(m).square().mean() / m.square().mean()).sqrt().item()
        for skip, m in zip(residual.skips, maps, strict=False)
    ]
    if start == "he":
        assert grown[0] > 4  # a chain of four adds its input's size and more at each block
        return
    assert grown == [1.0] * 4
    assert torch.equal(residual(x), plain(x))
    residual(x).square().mean().backward()
    gains = [p for name, p in residual.named_parameters() if name.endswith("gain")]
    assert len(gains) == 10
    assert all(gain.grad.abs() > 0 for gain in gains)


def test_block_options():
    torch.manual_seed(0)
    x = torch.randn(8, 4, 6, 6)
    plain, residual = ChainOfConvBlocks(4, 1), ChainOfConvBlocks(4, 1, residual=True)
    residual.load_state_dict(plain.state_dict())
    assert torch.allclose(residual(x), x + plain(x))
    assert plain(x).min() >= 0
    gained = ChainOfConvBlocks(4, 1, residual=True, start="zero")
    gained.load_state_dict({**plain.state_dict(), "0.gain": torch.tensor(0.5)})
    assert torch.allclose(gained(x), x + 0.5 * plain(x))
    normed = ChainOfConvBlocks(4, 1, batch_norm=True)
    with_norm = normed[0].norm(normed[0].conv(x))
    assert torch.allclose(with_norm.mean((0, 2, 3)), torch.zeros(4), atol=1e-5)


def test_initialisation_follows_the_notes():
    torch.manual_seed(0)
    generator = Generator(chain=(4, 3, 2, 1))
    assert generator.encoder[2][0].weight.std().item() == pytest.approx(0.02, rel=0.02)
    norm = generator.encoder[3][1]
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.01)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.2)
    he = (2 / (64 * 9)) ** 0.5
    assert generator.skips[0][0].conv.weight.std().item() == pytest.approx(he, rel=0.05)
    dcgan = Generator(chain_init="dcgan").skips[0][0].conv.weight
    assert dcgan.std().item() == pytest.approx(0.02, rel=0.05)


def test_an_unknown_initialisation_is_refused():
    with pytest.raises(ValueError, match="chain_init='He' given; choose he or dcgan"):
        Generator(1, 4, chain_init="He")


def test_dropout_stands_in_the_two_deepest_decoder_blocks_alone():
    generator = Generator(1, 4, dropout=0.3)
    rates = [
        [m.p for m in block.modules() if isinstance(m, torch.nn.Dropout)]
        for block in generator.decoder
    ]
    assert rates == [[0.3], [0.3], [], [], []]
