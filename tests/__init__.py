"""Tests of syncer."""
