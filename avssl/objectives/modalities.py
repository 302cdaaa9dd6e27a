"""What objectives share whose answer is of one modality, or of both together."""

from collections.abc import Mapping

from avssl.data.views import View
from avssl.errors import UsageError, unknown
from avssl.objectives.base import Objective, Read
from avssl.objectives.student import MODALITIES


class ModalitiesObjective(Objective):
    """One answer of the embeddings of `modalities`."""

    modalities: tuple[str, ...] = MODALITIES

    @property
    def chosen_reads(self) -> dict[str, Read]:
        known = {"video": self.video_read, "audio": self.audio_read}
        for modality in self.modalities:
            if modality not in known:
                raise unknown(f"{self.config_key}.modalities", str(modality), known)
        if not self.modalities:
            raise UsageError(f"{self.config_key}.modalities is empty: give video, audio or both")
        return {modality: known[modality] for modality in MODALITIES if modality in self.modalities}

    @property
    def who(self) -> str:
        """Whose answer it is, as tables name it."""
        return "joint" if len(self.chosen_reads) > 1 else next(iter(self.chosen_reads))

    def views(self, table: Mapping[str, View]) -> dict[str, View]:
        return {read.view: table[read.view] for read in self.chosen_reads.values()}

    def reads(self) -> tuple[Read, ...]:
        return tuple(self.chosen_reads.values())
