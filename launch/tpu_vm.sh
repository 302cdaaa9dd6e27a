#!/usr/bin/env bash
# Runs a command on all workers of a TPU slice at once, from the folder `avssl` in the home of each:
#
#   launch/tpu_vm.sh NAME ZONE avssl pretrain --config configs/pretrain/avid.py --workdir /mnt/bucket/runs/avid
#
# Before the first time, on all workers: copy the project, `pip install -e 'avssl[tpu]'`, and mount what the
# workdir and the data lie on, which all workers must see: best a bucket with hierarchical namespace, whose folders
# are renamed at once, as a checkpoint is; any other with `gcsfuse --implicit-dirs --rename-dir-limit=200000`. Exit
# code: that of gcloud, not 0 where any worker failed; the same command again goes on from the last checkpoint.

if [[ $# -lt 3 ]]; then
    echo "usage: ${0##*/} NAME ZONE COMMAND [ARGUMENT ...]" >&2
    exit 2
fi
name=$1
zone=$2
shift 2
exec gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
    --command="cd avssl && AVSSL_DISTRIBUTED=1 $(printf '%q ' "$@")"
