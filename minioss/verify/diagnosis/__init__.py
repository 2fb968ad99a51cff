"""What is wrong with a port: the mistake of the catalogue that explains how it departs.

`evidence` runs the reference with a mistake switched on and says what is then left of the port's deviation,
`noise` what a right port of some precision has left; `exact` finds the mistakes that explain a float32 port to
its last bits, `coarse` those that stand out from rounding; `findings` puts them in order, `telling` in words.
"""

from minioss.verify.diagnosis.telling import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]
