"""The conditional GAN `gan-classic` in PyTorch, and its training step: what torch_train.py times.

Networks, losses and optimizers are those of models/gan-classic.toml.
"""

import torch
import torch.nn.functional as F
from torch import nn

NOISE, CLASSES = 100, 10
EPSILON = 1e-3


def conv(channels, filters, kernel=3):
    # PyTorch's `same` puts the extra row and column of an even window after, as needed.
    return nn.Sequential(nn.Conv2d(channels, filters, kernel, padding="same"), nn.ReLU(inplace=True))


def norm(channels):
    return nn.BatchNorm2d(channels, eps=EPSILON, momentum=0.01)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.noise = nn.Sequential(nn.Linear(NOISE, 50), nn.ReLU())
        self.label = nn.Sequential(nn.Linear(CLASSES, 20), nn.ReLU(), nn.Linear(20, 200), nn.ReLU())
        layers = []
        for inputs, units in [(250, 300), (300, 500), (500, 784)]:
            layers += [nn.BatchNorm1d(inputs, eps=EPSILON, momentum=0.01), nn.Linear(inputs, units), nn.ReLU()]
        self.sketch = nn.Sequential(*layers)
        self.conv1, self.conv2, self.conv3 = conv(1, 16), conv(16, 32), conv(32, 64)
        self.norm1, self.norm2, self.norm3 = norm(16), norm(32), norm(64)
        self.conv4 = nn.Sequential(conv(64, 128), norm(128))
        self.conv5 = nn.Sequential(conv(16 + 128 + 1, 64), norm(64))
        self.conv6 = conv(32 + 16 + 64 + 1, 32)
        self.paint = nn.Sequential(
            norm(1 + 16 + 64 + 32 + 32),
            conv(1 + 16 + 64 + 32 + 32, 256),
            conv(256, 64),
            conv(64, 8, 2),
            nn.Conv2d(8, 1, 2, padding="same"),
            nn.Sigmoid(),
        )

    def forward(self, noise, label):
        x = torch.cat([self.label(label), self.noise(noise)], 1)
        x0 = self.sketch(x).view(-1, 1, 28, 28)
        x1 = self.conv1(x0)
        x2 = self.conv2(self.norm1(x1))
        x3 = self.conv3(self.norm2(x2))
        x = self.conv4(self.norm3(x3))
        x = self.conv5(torch.cat([x1, x, x0], 1))
        x = self.conv6(torch.cat([x2, x1, x, x0], 1))
        return self.paint(torch.cat([x0, x1, x3, x2, x], 1))


def halving(channels, padding):
    """A convolution of 4x4 with stride 2 and TensorFlow's `same`, norm without a scale, leaky relu."""
    shift_only = norm(50)
    shift_only.weight.requires_grad_(False)
    even = padding == (1, 1)
    pad = [] if even else [nn.ZeroPad2d((padding[0], padding[1]) * 2)]
    layer = nn.Conv2d(channels, 50, 4, stride=2, padding=1 if even else 0, bias=False)
    return [*pad, layer, shift_only, nn.LeakyReLU(0.2, inplace=True)]


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()

        def dense(inputs, units):
            return [nn.Dropout(0.4), nn.Linear(inputs, units), nn.LeakyReLU(0.2)]

        self.pixels = nn.Sequential(nn.Flatten(), *dense(784, 256))
        self.label = nn.Sequential(*dense(CLASSES, 712))
        # 28, 14, 7 and 4 pixels become 14, 7, 4 and 2.
        self.picture = nn.Sequential(
            *halving(1, (1, 1)),
            *halving(50, (1, 1)),
            *halving(50, (1, 2)),
            *halving(50, (1, 1)),
            nn.Flatten(),
            *dense(2 * 2 * 50, 256),
        )
        self.judge = nn.Sequential(*dense(256 + 712 + 256, 256), nn.Dropout(0.4), nn.Linear(256, 1))

    def forward(self, image, label):
        branches = [self.picture(image), self.label(label), self.pixels(image)]
        return self.judge(torch.cat(branches, 1))


def training_step(layout, fused):
    """A function of a batch of digits and labels that trains the discriminator once, then the generator."""
    generator = Generator().to(memory_format=layout).train()
    discriminator = Discriminator().to(memory_format=layout).train()

    def adam(network, rate):
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        return weights, torch.optim.Adam(weights, lr=rate, betas=(0.9, 0.999), eps=1e-7, fused=fused)

    _, adam_g = adam(generator, 1e-3)
    weights_d, adam_d = adam(discriminator, 1e-4)

    def step(images, labels):
        label = F.one_hot(labels, CLASSES).float()
        ones, zeros = torch.ones(len(images), 1), torch.zeros(len(images), 1)

        adam_d.zero_grad(set_to_none=True)
        with torch.no_grad():
            fake = generator(torch.randn(len(images), NOISE), label)
        real_loss = F.mse_loss(discriminator(images, label), ones)
        fake_loss = F.mse_loss(discriminator(fake, label), zeros)
        loss = 0.5 * (real_loss + fake_loss)
        loss.backward()
        adam_d.step()

        # The generator's step asks for no derivatives by the discriminator's weights.
        for weight in weights_d:
            weight.requires_grad_(False)
        adam_g.zero_grad(set_to_none=True)
        fake = generator(torch.randn(len(images), NOISE), label)
        F.mse_loss(discriminator(fake, label), ones).backward()
        adam_g.step()
        for weight in weights_d:
            weight.requires_grad_(True)
        return loss

    return step
