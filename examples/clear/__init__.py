"""CLEAR studies: which class each place speaks for, on digits and on ordinal grades (Kumar et al. 2017)."""
