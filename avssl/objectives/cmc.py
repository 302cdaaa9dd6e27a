"""Contrastive multiview coding as a transfer: the two views of a record are a student and its teacher."""

from avssl.objectives.crd import Crd


class Cmc(Crd):
    """Cross-entropy of the labels + NCE of student and teacher against banks of all records.

    Tian, Krishnan & Isola 2020 (ECCV, arXiv 1906.05849; code: CMC, `NCE/`): the loss of `crd` with 4096
    negatives of whatever class; `softmax` for the code's other form. In tables of distillation CMC is this
    between a student and a frozen teacher, with labels; that, and its weight of 1, is not verified.
    """

    num_negatives: int = 4096
    other_classes: bool = False
    transfer_weight: float = 1.0
