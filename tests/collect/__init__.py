"""Tests of the station that collects documents: sending, admitting, storing, mirroring."""
