"""A recorded run of a Core under mishaps, judged against each promise of protocol 9."""
