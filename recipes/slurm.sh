#!/bin/bash
# Embeds a corpus as a Slurm job array: every task stores its part into one cache.
#
#   affekt extract clips.csv -c my.cache -e ENCODER --plan 8      how it would spread over 8 tasks
#   sbatch --array=1-8 recipes/slurm.sh clips.csv my.cache ENCODER
#
# The manifest, its audio, the cache and the encoder have to be on a file system that all nodes see.
# A task that was killed is submitted again with the same --array: what is stored is skipped.
#SBATCH --job-name=affekt-extract
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@60
#SBATCH --output=affekt-%A-%a.log
# For encoders that need one: #SBATCH --gres=gpu:1
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: sbatch --array=1-N $0 MANIFEST CACHE ENCODER [OPTIONS OF affekt extract]" >&2
    exit 2
fi
manifest=$1 cache=$2 encoder=$3
shift 3

export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
# exec: the signal that Slurm sends a minute before the end reaches affekt, which stores what it has
exec affekt extract "$manifest" --cache "$cache" --encoder "$encoder" --part slurm "$@"
