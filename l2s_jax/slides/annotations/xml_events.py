"""Streaming over an XML file from an untrusted source."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Literal
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from l2s_jax.slides.annotations.source_file import opened
from l2s_jax.system.errors import UserError

MAX_DEPTH = 64

MAX_TAG_BYTES = 2**20
"""Longest stretch without a ">". Expat before 2.6 takes quadratic time over a tag that goes on and on."""


def xml_events(path: Path) -> Iterator[tuple[Literal["start", "end"], str, Mapping[str, str]]]:
    """Yields (event, tag without namespace, attributes) in file order; keeps no element in memory.

    Raises:
      UserError: no well-formed XML, nested too deeply, or with a document type (entities are how an XML file
        of a few bytes takes all memory; no annotation tool writes them).
    """
    open_elements: list[Element] = []
    try:
        with opened(path) as file:
            _refuse_long_tags(file, path)
            for event, element in iterparse(file, events=("start", "end"), forbid_dtd=True):
                if event == "start":
                    open_elements.append(element)
                    if len(open_elements) > MAX_DEPTH:
                        raise UserError(f"{path}: XML nested more than {MAX_DEPTH} deep: no annotation file")
                else:
                    open_elements.pop()
                    if open_elements:
                        open_elements[-1].remove(element)
                yield event, element.tag.rpartition("}")[2], element.attrib
    except DefusedXmlException as error:
        raise UserError(
            f"{path} declares a document type or entities, which annotation files never need and which can "
            "fill all memory: refused. Export the annotations again"
        ) from error
    except (ParseError, LookupError, ValueError) as error:
        raise UserError(
            f"{path} is not well-formed XML ({error}). It may be cut off: export the annotations again"
        ) from error


def _refuse_long_tags(file: IO[bytes], path: Path) -> None:
    """Raises where a whole block of the file has no end of a tag."""
    while len(block := file.read(MAX_TAG_BYTES)) == MAX_TAG_BYTES:
        if b">" not in block:
            raise UserError(f"{path}: {MAX_TAG_BYTES} bytes without a tag: no annotation file")
    file.seek(0)


def number(text: str | None) -> float:
    """A coordinate; decimal commas are met. NaN where it is no number."""
    try:
        return float((text or "").replace(",", ".", 1))
    except ValueError:
        return float("nan")
