"""A synthetic BIDS dataset of heads with known hypothalamus and intracranial volumes, for trying out and for tests."""

from bids_hypo.demo.dataset import DemoSettings, subject_truth_masks, write_demo_dataset

__all__ = ["DemoSettings", "subject_truth_masks", "write_demo_dataset"]
