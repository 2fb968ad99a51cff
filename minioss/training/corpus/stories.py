"""Simple stories: who, a wish or a trouble, what is tried, what helps, how it ends.

Each plot is a list of templates, one a paragraph. Who takes part, and where, is drawn once for a
story, so that names, pronouns and things stay the same from its beginning to its end.
"""

import numpy as np

from minioss.training.corpus.drawing import expand, pick, several
from minioss.training.corpus.plots import PLOTS

GIRLS = "Lily Anna Mia Clara Rosa Ella Nora Ida Greta Molly Hanna Tilda Sophie Lucy Emma Mina Kate Olga Ruth Vera"
BOYS = "Tom Hans Peter Max Oscar Jack Leo Emil Felix Paul Simon Karl Ned Otto Sam Finn Jonas Martin Will Ben"
PETS = "Pip Dot Rusty Tilly Bramble Hazel Nib Button Patch Clover Moss Whisker Snowy Twig Pepper Bean Muffin Fern"
CHILDREN = {"girl": GIRLS.split(), "boy": BOYS.split()}
ANIMALS = "fox rabbit mouse squirrel bear hedgehog frog duck cat dog goat mole badger otter lamb pony kitten puppy"
NATURES = "kind brave curious cheerful quiet clever gentle shy merry patient proud lonely poor busy"
PLACES = (
    "a [small|quiet|green|pretty] village [by the sea|near the forest|in the mountains|at the edge of a wood]",
    "a [little|tiny|white|crooked] house [on a hill|by a river|under a big oak tree|near the mill|beside the road]",
    "a [deep|green|dark|wide] [forest|valley|wood]",
    "a [far|small|happy|snowy] [land|kingdom|country]",
    "a [busy|small|noisy|friendly] town [with a tall tower|by the lake|with a red bridge]",
)
THINGS = (
    "[red|blue|yellow|green|shiny|new] [kite|ball|drum|boat|whistle|lantern|scarf|hat]",
    "[golden|silver|tiny|pretty] [ring|bell|key|cup|button|flute]",
    "[soft|warm|fine] [blanket|coat|pillow]",
)
FOODS = "[loaf of bread|piece of cheese|honey cake|basket of apples|bowl of soup|plum pie|bag of nuts|sweet bun]"
WEATHER = "[cold|windy|rainy|sunny|foggy|bright|snowy|warm] [morning|day|evening]"
PRONOUNS = {"girl": ("she", "her", "her"), "boy": ("he", "him", "his")}
OPENINGS = (
    "Once upon a time there was {hero} who lived in {place}.",
    "Once upon a time, in {place}, there lived {hero}.",
    "Once upon a time {hero} lived in {place}.",
    "Once upon a time there was {hero}.",
    "In {place} there lived {hero}.",
    "There was once {hero} who lived in {place}.",
    "Long ago, in {place}, there lived {hero}.",
)


def story(random: np.random.Generator) -> str:
    """A story of about 100 to 240 words, one paragraph a line."""
    lines = [f"{pick(random, OPENINGS)} {pick(random, TRAITS)}", *pick(random, PLOTS), pick(random, ENDS)]
    slots = cast(random)
    return "\n".join(expand(random, line, slots) for line in lines)


TRAITS = (
    "{A} was {nature}, and everybody liked {him}.",
    "{A} was {nature} and {nature2}.",
    "Every day {he} [played by the water|sat under the same old tree|sang a little song|helped {his} neighbours].",
    "{He} had a good friend, {friend}.",
    "{A} liked to [walk in the fields|look at the stars|listen to old stories|watch the birds] with {friend}.",
    "{A} was small, but {he} was very {nature}.",
)
ENDS = (
    "And they [all|both] lived happily ever after.",
    "From that day on, {A} and {B} were the best of friends.",
    "That night {A} slept [well|deeply|like a stone], and {his} dreams were [sweet|bright|full of songs].",
    "[And so|Then] {A} went home and told {grown} everything. {Grown} smiled and kissed {him} on the nose.",
    "{A} never forgot that day, and neither did {B}.",
    "[Everybody|The whole place] was glad, and they [danced|sang|laughed] until the moon came up.",
    'And if you go there, you may still hear {A} say, "[Be kind|Be patient|Be brave], and all will be well."',
)


def cast(random: np.random.Generator) -> dict[str, str]:
    """Who takes part in a story, where it happens, and what it is about."""
    nature, nature2 = several(random, NATURES.split(), 2)
    hero = person(random)
    friend = person(random)
    while friend["name"] == hero["name"] or friend["kind"] == hero["kind"]:
        friend = person(random)
    grown = pick(random, ("mother", "father", "grandmother", "grandfather", "uncle", "aunt"))
    slots = {"A": hero["name"], "B": friend["name"], "hero": hero["whole"], "friend": friend["whole"]}
    slots |= {"nature": nature, "nature2": nature2, "Akind": hero["kind"], "Bkind": friend["kind"]}
    for prefix, someone in (("", hero), ("b", friend)):
        for word in ("he", "him", "his"):
            slots[prefix + word] = someone[word]
            slots[(prefix + word).capitalize()] = someone[word].capitalize()
    slots |= {"grown": f"{hero['his']} {grown}", "Grown": f"{hero['his']} {grown}".capitalize()}
    first, second = several(random, THINGS, 2)
    return slots | {
        "place": expand(random, pick(random, PLACES), {}),
        "thing": expand(random, first, {}),
        "gift": expand(random, second, {}),
        "food": expand(random, FOODS, {}),
        "weather": expand(random, WEATHER, {}),
    }


def person(random: np.random.Generator) -> dict[str, str]:
    """A child or an animal, with a name and pronouns."""
    sex = pick(random, ("girl", "boy"))
    is_child = random.random() < 0.5
    kind = sex if is_child else pick(random, ANIMALS.split())
    name = pick(random, CHILDREN[sex] if is_child else PETS.split())
    he, him, his = PRONOUNS[sex]
    size = pick(random, ("little", "little", "young", "small"))
    return {"name": name, "kind": kind, "whole": f"a {size} {kind} named {name}", "he": he, "him": him, "his": his}
