"""`kdbench export`: write a trained network as a folder that needs no kdbench."""

from __future__ import annotations

import click

from kdbench.cli.results_option import results_option


@click.command(short_help="Write a trained network as a folder: ONNX, 8 bits, or Hugging Face format.")
@click.argument("run")
@click.option("--format", "form", default="onnx", show_default=True, help="onnx, int8 (ONNX with 8-bit weights) or hf.")
@click.option("--out", metavar="DIR", help="The folder to write (default: RUN-FORMAT here).")
@results_option()
def command(run: str, form: str, out: str | None, results: str | None) -> None:
    """Write the network of a finished run with its tokenizer and a model card.

    RUN is the name of a run, or a part of it that no other run has. The folder is loaded again by plain transformers or
    onnxruntime, and its logits are compared with those of the run, before it is kept. The model card has method, data,
    settings, scores with their interval, how to load it, and whose terms hold. ONNX needs the extra deploy.
    """
    from kdbench.core.atomic_files import user_path
    from kdbench.reporting import printing
    from kdbench.reporting.export_folder import export_folder
    from kdbench.reporting.show_run import find_run

    store = printing.open_store(results, raw=True)
    found = find_run(store, run)
    target = user_path(out or f"{found.id}-{form}")
    check = export_folder(found, store, form, target)
    printing.print_line(
        printing.make_console(),
        f"Wrote {target}; {check.rows} rows give logits that differ by at most {check.difference:.1e}"
        f"{check.class_words}.",
    )
