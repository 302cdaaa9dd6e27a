"""The configuration of a run: defaults, files with variants, overrides from the command line, checks.

A config is a `ConfigDict`. A sub-dict's keys are exactly the fields of the thing it builds (a view, an
encoder, an objective), so no key is declared twice. `resolve` writes every default in, and what it
returns is what `config.json` in the run folder holds.
"""

from avssl.config.compare import changed_keys, differences
from avssl.config.complete import encoder_defaults, resolve
from avssl.config.defaults import base
from avssl.config.file import load_config, run_config
from avssl.config.flags import override
from avssl.config.tree import ConfigDict, flatten, from_json, to_json
from avssl.config.variants import quicktest, variant_of

__all__ = [
    "ConfigDict",
    "base",
    "changed_keys",
    "differences",
    "encoder_defaults",
    "flatten",
    "from_json",
    "load_config",
    "override",
    "quicktest",
    "resolve",
    "run_config",
    "to_json",
    "variant_of",
]
