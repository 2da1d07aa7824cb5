"""Commands that make sound: synth, mix."""

from __future__ import annotations

import click

from corpusdiff.cli.group import main

_bits = click.option(
    "--bits", type=click.Choice(["16", "24", "32"]), help="Of a lossless file; 32 is float  [default: 16]."
)


@main.command()
@click.argument("reference", type=click.Path(exists=True, dir_okay=False))
@click.argument("output", type=click.Path(dir_okay=False))
@click.option("--source", type=click.Path(exists=True, dir_okay=False), help="Track to start from  [default: noise].")
@click.option("--seconds", type=click.FloatRange(0, 86400, min_open=True),
              help="Length of the result  [default: the source's, or the reference's].")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the noise.")
@click.option("--k", type=float, default=-0.5, show_default=True, help="The law's coefficient per step, -1 to 0.")
@click.option("--steps", type=click.IntRange(0), default=6, show_default=True,
              help="Steps toward the reference; 0 leaves the source.")  # fmt: skip
@_bits
def synth(reference: str, output: str, bits: str | None, **options: object) -> None:
    """Make OUTPUT from noise, or a track, by moving its timbre and level toward those of REFERENCE, frame by frame.

    (1 + k)^steps of the distance is left. The same seed gives the same samples.

    \b
    Examples:
      corpusdiff synth waves.wav sea.flac --seconds 600 --seed 7
      corpusdiff synth speech.wav talking.wav --source strings.flac --steps 4
    """
    from corpusdiff.synth import synthesise_file

    n = synthesise_file(reference, output, bits=int(bits) if bits else None, **options)  # type: ignore[arg-type]  # click's types
    click.echo(f"{output}: {n} samples")


@main.command()
@click.argument("stems", nargs=-1, required=True, type=click.Path(dir_okay=False))
@click.option("--output", "-o", required=True, type=click.Path(dir_okay=False), help="File to write.")
@click.option("--gain", "gains", type=float, multiple=True, metavar="DB", help="Of each stem in turn  [default: 0].")
@click.option("--offset", "offsets", type=float, multiple=True, metavar="SECONDS",
              help="When each stem in turn begins  [default: 0].")  # fmt: skip
@click.option(
    "--sr", type=click.IntRange(1000, 768000), metavar="HZ", help="Rate  [default: the highest of the stems]."
)
@click.option(
    "--loudness", type=click.FloatRange(-70, 0), metavar="LUFS", help="Of the result  [default: the plain sum]."
)
@_bits
def mix(
    stems: tuple[str, ...],
    output: str,
    gains: tuple[float, ...],
    offsets: tuple[float, ...],
    sr: int | None,
    loudness: float | None,
    bits: str | None,
) -> None:
    """Add STEMS up; peaks are kept under -1 dBTP.

    \b
    Example:
      corpusdiff mix voice.wav music.flac -o both.flac --gain 0 --gain -12 --offset 2 --loudness -16
    """
    from corpusdiff.errors import ParameterError
    from corpusdiff.mixing import Stem, mix_files

    for name, values in {"--gain": gains, "--offset": offsets}.items():
        if len(values) > len(stems):
            raise click.UsageError(
                f"{name} is given {len(values)} times, for {len(stems)} stems: give it once for each"
            )
    try:
        parts = [
            Stem(path, gains[i] if i < len(gains) else 0.0, offsets[i] if i < len(offsets) else 0.0)
            for i, path in enumerate(stems)
        ]
    except ParameterError as error:
        raise click.UsageError(f"--{error}") from error
    n = mix_files(parts, output, sr=sr, target_lufs=loudness, bits=int(bits) if bits else None)
    click.echo(f"{output}: {n} samples")
