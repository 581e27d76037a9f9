#!/bin/bash
# Pre-training on two machines with four GPUs each: sbatch examples/pretrain_slurm.sh
#
# One task per GPU; endofm reads the rest from SLURM. Submitted again after the time limit, the job goes on where it was:
# a minute before the limit SLURM sends SIGTERM to the tasks, and the run saves and ends.
#SBATCH --job-name=endofm-pretrain
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=12
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@60
#SBATCH --requeue

srun endofm pretrain endofm --out runs/endofm \
    data.clips=prepared/clips32k \
    run.batch_size=96 run.precision=bf16-mixed run.num_workers=10
