"""The defaults of every run."""

from avssl.config.tree import ConfigDict

# Sub-dicts whose keys are names the user chooses.
OPEN_SECTIONS = ("views", "encoders", "objectives", "teachers")


def base() -> ConfigDict:
    """What every run shares. A config file starts here and states what differs."""
    return ConfigDict(
        {
            "seed": 0,
            "steps": 1000,
            "batch_size": 64,  # of all devices and hosts together
            "precision": "float32",  # float32 | bf16 (compute only) | float64 (proofs on CPU)
            "init_from": "",  # run folder whose parameters to start from
            "log_every_steps": 10,
            "data": {
                "source": "world:quickstart@train",
                "workers": 0,
                "cache": "none",  # memory | disk | none
                "cache_gigabytes": 2.0,
                "local_cache": None,  # folder for copies of the records of a built set that lies far away
                "local_cache_gib": None,  # at most so much of them
                "max_bad_fraction": 0.01,
                "holdout_fraction": 0.0,  # kept out of training, chosen by a hash of the key
                "class_balanced": False,  # each class is drawn as often as any other
                "with_replacement": False,  # samples are drawn one by one, not in epochs
                "mixup": None,  # alpha of the Beta that clips are mixed in pairs by (train/mixup.py)
                "mixup_share": None,  # of the clips, how many are mixed; None: all
                "mixup_weight": None,  # of each in its mixture, in place of draws by `mixup`: 0.5 is the mean
                "num_records": 0,  # of the source; stated only to plan a run without opening it
            },
            "views": {
                "video": {"modality": "video"},
                "audio": {"modality": "audio"},
            },
            "encoders": {},
            "objectives": {},
            "teachers": {},  # frozen encoders whose targets objectives ask for
            "optimizer": {
                "name": "adamw",
                "learning_rate": 1e-3,
                "schedule": "cosine",  # constant | cosine
                "warmup_steps": 0,
                "weight_decay": 0.0,
                "clip_norm": 0.0,  # 0: no clipping
                "accumulate": 1,  # micro-batches per step; the loss still sees the whole batch
                "arguments": {},  # further keyword arguments of the optax optimiser
                "rules": (),  # (regular expression on the parameter path, {learning_rate, weight_decay})
                "layer_decay": None,  # rate times this to the power of an encoder layer's depth from the top
                "head_warmup_steps": None,  # for so many steps the encoders stay as they are
                "frozen": (),  # regular expressions on the paths of parameters that stay as they are
            },
            "ema": {"decay": 0.0},  # 0: none
            "parallel": {
                "mode": "mesh",  # mesh | pmap
                "fsdp": 1,
                "rules": (),  # (regular expression on the parameter path, axis to shard or None)
            },
            "checkpoint": {"every_steps": 1000, "keep": 3},
            "eval": {
                "protocols": ("knn", "linear", "retrieval"),
                "data": "",  # empty: the training data
                "test_data": "",  # empty: a held-out part of the above
                "clips": None,  # windows of each clip that classification and tagging average; None: 1
                "crops": None,  # of each of them so many crops along the longer side; None: 1
                "layers": (),  # of the encoders, probed beside their embeddings: ("video.layer2",)
                "alpha": None,  # share of the audio-visual map in one that is fused with objects; None: none
                "object_encoder": None,  # the run whose map of objects that is fused with; None: this one
                "every_steps": None,  # during training too, every so many steps; None: at its end alone
                "track_score": None,  # the least of a box that detection links to others in tracks; None: 0.5
                "offset_frames": None,  # to either side, where synchronization searches for the sound; None: 15
            },
        }
    )
