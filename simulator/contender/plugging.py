"""The moment at which knowledge begins to take part in a model that is in use.

hidden, gate     a new plug: scores, weights and optimiser stay as they are (KEEP, eq. 5)
fields, join     new inputs: the layers that read them start anew, all others keep weights and optimiser state
weights          the base's network takes the click model's place and goes on; the base is no more
"""

from __future__ import annotations

from pkb.plug import INTO_USE, WEIGHTS, SecondPlug
from pkb.warm_start import carry_over
from simulator.contender.contender import Contender


def plug_in(contender: Contender) -> None:
    """Let knowledge take part from now on."""
    contender.plugged, plug = True, contender.recipe.arm.plug
    if plug == WEIGHTS:
        base = contender.live
        assert base is not None, f"{contender.key} has no base"
        if contender.model.backbone.go_on_from(base.base):
            contender.model.prior.zero_()  # which the base's own logits do without
            contender.trained_through, contender.built_until = base.compressed_through, base.built_until
        contender.base = contender.live = contender.source = None
        contender.restart_optimiser()
    elif plug not in INTO_USE:
        former = contender.model_optimiser
        contender.model = contender.new_model()
        contender.restart_optimiser()
        carry_over(former, contender.model_optimiser)


def plug_in_second(contender: Contender) -> None:
    """Open the plug of a second base, if there is one and it is not open yet: it is new, so that no score changes."""
    if isinstance(contender.model.plug, SecondPlug):
        contender.model.plug.open()
