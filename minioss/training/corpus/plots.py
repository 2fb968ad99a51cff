"""The plots of the simple stories, as templates; see `stories` for who and what fills them.

A is the hero and B the other one: ``{A}`` is a name, ``{he} {him} {his}`` are A's pronouns, ``{bhe}
{bhim} {bhis}`` those of B. ``{grown}`` is somebody grown-up of A's family.
"""

LOST = (
    "One {weather} {A} lost {his} {thing}. {He} looked [under the bed|behind the door|in the garden] and "
    "[down by the well|up on the shelf|beside the gate], but it was not there.",
    '"[Oh dear|Oh no]," said {A}. "[Where can it be?|Who has seen my {thing}?]" [And {he} began to cry.|{He} sat down '
    "on a stone and was very sad.]",
    "Then {B} came along[ the road|, humming a song|]. {B} was a {Bkind}. "
    '"[Why are you so sad?|What is the matter?]" asked {B}. "I have lost my {thing}," said {A}.',
    '"Do not worry," said {B}. "I will help you. [Two can see more than one.|Four eyes are better than two.]" So they '
    "[walked all the way to the river|looked in every corner|asked all the birds], and [at last|after a long time] "
    "{B} saw something [in the grass|behind a bush|in a hollow tree]. It was the {thing}!",
    '"Thank you, {B}!" cried {A}. [{He} was so happy that {he} jumped in the air.|{He} gave {B} a big hug.]',
)

EARNED = (
    "{A} wanted a {thing} more than anything in the world, but {he} had no money. [Every day {he} stopped at the "
    "shop and looked at it.|It stood in the window of the old shop, and {he} thought of it day and night.]",
    '"If you want it, you must work for it," said {grown}. [So {A} went out to find some work.|"I will," said {A}.]',
    "First {he} [carried water for the baker|swept the yard of the inn|picked apples for a farmer]. Then {he} "
    "[fed the hens|washed the windows|brought wood for the fire] for {B}, the {Bkind}. The work was [hard|long and "
    "hard], but {A} did not stop.",
    "[After a week|When the moon was full|At the end of the month] {he} had [five silver coins|three silver coins|a "
    'bag of pennies]. {He} ran to the shop. "I have come for the {thing}," {he} said.',
    "But the shop was empty. [The {thing} was gone.|Somebody had bought the {thing}.] {A} went home "
    "[slowly|with a heavy heart]. And there, at the door, stood {B} with the {thing} in {bhis} hands.",
    '"You worked so well," said {B}, "that I wanted to [give it to you|thank you]." {A} [laughed|was full of joy], and '
    "{he} [bought a cake for them both|shared the coins with {B}].",
)

AFRAID = (
    "But {A} was afraid of [the dark|thunder|deep water|the old bridge|the big black dog]. [Nobody knew it.|{He} never "
    "told anybody.]",
    'One {weather} {A} heard a voice. "Help! Help!" [It came from the other side of the river.|It came from the wood.] '
    "It was {B}, the {Bkind}. [{Bhis} foot was caught under a stone.|{Bhe} had fallen into a deep hole.]",
    '"I cannot go there," thought {A}. "I am too afraid." {His} knees shook. But {B} called again, and {A} took a deep '
    "breath.",
    '"I am coming!" {he} cried. {He} [closed {his} eyes|counted to three|sang a song to be brave] and ran. [It was not '
    "so bad after all.|With every step {he} was a little less afraid.]",
    "{A} [pulled and pulled|took a long rope and pulled], and at last {B} was free. "
    '"You are the bravest {Akind} I know," said {B}.',
    '"No," said {A}, "I was very much afraid." "[That is what brave means|To be afraid and to go all the same, that is '
    'brave]," said {B}[ and smiled|].',
)

BIRD = (
    "One {weather} {A} found a [small|little] bird in the [snow|grass|garden]. Its wing was hurt, and it could not "
    "fly.",
    '"Poor little bird," said {A}. {He} [carried it home|put it into {his} warm hat and took it home], gave it [water '
    "and crumbs|seeds and water], and made a bed for it [in a basket|near the fire]. "
    "[Every morning the bird sang for {him}.|Day by day the bird grew stronger.]",
    '[In spring|After many days|When its wing was well] the bird said, "You were good to me. Now I must fly away. But '
    'if you need me, [call three times|whistle three times], and I will come." And off it flew.',
    "A year went by. Then {A} and {his} friend {B}, the {Bkind}, went [to look for berries|to gather wood], and they "
    "lost their way "
    "in the [dark forest|deep wood]. It grew [cold|dark], and {B} began to cry.",
    "{A} remembered the bird. {He} [called|whistled] three times. [At once|In a moment] there was a sound of "
    'wings. "Follow me," sang the bird, and it flew before them from tree to tree until they saw the lights of home.',
    '"You helped me, and I helped you," said the bird. [Then it flew up to the stars.|And from then on it came to see '
    "{A} every day.]",
)

SHARED = (
    "One {weather} {A} set out on a long walk. {Grown} gave {him} a {food} to eat on the way.",
    '[Soon|After an hour] {he} met an old [man|woman] who sat by the road. "I am so hungry," said the old one. '
    '"I have only this {food}, but we can share it," said {A}. And {he} gave away half of it.',
    'A little later {he} met {B}, the {Bkind}. "I have not eaten all day," said {B}. [{A} looked at {his} food. '
    'There was not much left.|{A} was hungry too.] "Take it," {he} said. "You need it more than I do."',
    "In the evening {A} was tired and hungry, [and it began to rain|and {his} feet hurt]. Then {he} saw a light. It "
    "was a "
    "[warm little house|fine castle|round white house]. The door opened, and there stood the old one from the road.",
    '"Come in," said the old one. "You shared with me when you had little. Now I share with you." On the table there '
    "were [cakes and pies and hot soup|bread and honey and sweet milk]. And at the table sat {B}[, smiling|].",
    "In the morning {A} found a {gift} in {his} bag. [It was a present.|It never grew old.]",
)

DRAGON = (
    "Near that place, in a cave, there lived a [dragon|giant|troll]. Every night it [roared|cried out|howled] so "
    "loudly "
    "that nobody could sleep. [The king promised a {gift} to anyone who could stop it.|Even the soldiers were afraid.]",
    '"I will go and see what it wants," said {A}. "You are too small!" said {B}. "Perhaps," said {A}, "but I can ask." '
    "So they went up the hill together.",
    '"Who is there?" [roared|cried] the voice in the cave. "It is only me, {A}," said {A}. "Why do you make so much '
    'noise?" It was quiet for a while.',
    '"[I have a thorn in my foot|I have a bad tooth|I am so lonely]," said the voice at last, "and nobody ever comes '
    "to "
    '[help|see] me." And a big tear fell on the ground.',
    "{A} was not afraid any more. {He} [went in and helped|sat down and sang a song|made some hot tea], and {B} "
    "[held the light|told a funny story]. After an hour [the big creature|the poor thing] began to smile.",
    "From then on everybody slept well. [And the next day they all came to the cave with flowers.|And every Sunday {A} "
    "and {B} went up the hill with a {food}.]",
)

MAGIC = (
    "One {weather} {he} met an old woman [with a heavy basket|who had lost her stick]. {A} helped her, and she gave "
    '{him} a [little pot|wooden spoon|small brown bag]. "Say: give, and it will give you food. Say: enough, and it '
    "will "
    'stop," she said.',
    '{A} ran home. "Give!" {he} said, and at once there was [warm soup|sweet porridge|hot pudding] for everybody. '
    '"Enough!" {he} said, and it stopped. [Nobody was hungry any more.|They all ate until they were full.]',
    'But one day {A} was away, and {B}, the {Bkind}, wanted to try it. "Give!" said {B}. The food came, and it '
    "came, and it came. {B} did not know the word to stop it. [It ran over the table and out of the door.|It filled "
    "the "
    "room and ran down the stairs.]",
    '"Stop! Please stop!" cried {B}. [But it did not stop.|But it ran on and on, down the street.] Then {A} came home '
    'and saw it. "Enough!" {he} called, and all was quiet.',
    '"I am sorry," said {B}[ with a red face|]. "[I only wanted a little bit.|I should have asked you.]" "[Next time, '
    'ask me|It is all right]," said {A}. And [they ate their way home|it took three days to clean the street].',
)

QUARREL = (
    "{A} and {B}, the {Bkind}, [were always together|did everything together]. But one {weather} they both saw a "
    "{thing} [on the path|in the grass|under a tree].",
    '"It is mine!" said {A}. "I saw it first!" "No, it is mine!" said {B}. They pulled, one on this side and one on '
    "that side, until [it broke in two|it fell into the river].",
    "Now nobody had it. {A} went home without a word, and so did {B}. [The next day was long and dull.|{A} wanted to "
    "play, but there was nobody to play with.]",
    '"What is a {thing} without a friend?" thought {A}. So {he} [took some glue|took a {food}|picked some flowers] and '
    "went to find {B}. On the way {he} met {B}, who was coming to find {him}.",
    '"I am sorry," said {A}. "I am sorry too," said {B}. [They looked at each other and laughed.|Then they both began '
    "to laugh.] They [made a new one together|mended it as well as they could], and it was better than before.",
)

RACE = (
    "One day there was a race [around the lake|up the hill|to the old mill]. The prize was a {gift}. "
    "Everybody wanted to win, and {B}, the {Bkind}, was the fastest of all.",
    '"You cannot win," said {B} to {A}. "You are too slow." {A} [said nothing|only smiled]. "[I will do my best|We '
    'shall see]," {he} said.',
    "They all began to run. {B} was soon far ahead. But [near the bridge|half way] there lay an old [goose|hen|donkey] "
    "who could not get up. {B} ran past. All the others ran past. Only {A} stopped.",
    '"Can I help you?" {he} asked, and {he} [helped the poor animal up|gave it some water]. "You are kind," it '
    'said. "Listen. [There is a short way through the wood.|There is a path behind the hedge.] Nobody knows it but '
    'me."',
    "{A} took the short way, and when {B} came to the end, {A} was there already. Everybody clapped. {B} was "
    '[angry at first|very much surprised], but then {bhe} said, "[You won because you stopped. I will remember that.'
    '|Well done, {A}.]"',
)

GARDEN = (
    'One spring {A} found [a seed|a strange brown seed|one small seed]. "I will plant it," {he} said. {He} dug a hole '
    "[beside the gate|in the garden|behind the house] and gave it water.",
    '{He} waited one day, and nothing came up. {He} waited a week, and nothing came up. "[It is only a stone|It will '
    'never grow]," said {B}, the {Bkind}, and laughed.',
    '"Good things need time," said {grown}. So {A} gave it water every morning, [and at night {he} told it a story|'
    "and {he} kept the hungry hens away].",
    "Then one {weather} there was a [green leaf|tiny green tip]. It grew and it grew. It grew as high as the door, and "
    "then as high as the roof. [In summer|Soon] it was full of [white flowers|golden flowers|red apples|sweet pears].",
    '{B} came and looked up[ with big eyes|]. "I was wrong," {bhe} said. "It is [beautiful|wonderful]." "[Come and '
    'sit under it with me|There is enough for us both]," said {A}.',
)

HOMEWARD = (
    'One {weather} {A} went into the wood. "Do not go too far," said {grown}. But {A} saw a [blue butterfly|white '
    "deer|funny hare] and ran after it, deeper and deeper, until {he} did not know where {he} was.",
    'The trees were tall and dark. [Something moved in the bushes.|The wind made a sad sound.] "Who is there?" called '
    "{A}. [Nobody answered.|{His} voice was very small.]",
    'Then out came {friend}. "Are you lost?" asked {B}. "Yes," said {A}. "I want to go home." '
    '"I know somebody who can help," said {B}. "Come!"',
    'They went to the old owl, who sat [in a hollow tree|on a high branch]. "Whoo," said the owl. "[Follow the river, '
    "for it runs to your house|Walk toward the bright star, and do not look back|Look for the moss on the trees]. That "
    'is the way."',
    "So they walked and walked, [over roots and stones|hand in hand], and when {A} was too tired, {B} told {him} a "
    "story. At last they saw a light in a window. There stood {grown}, [calling {his} name|with a lamp].",
    '"I will never run so far again," said {A}. "[And this is {B}, who brought me home.|Please, may {B} stay for '
    'supper?]"',
)

CAKE = (
    "{A} had a good friend, {B}, the {Bkind}. It was the day before {bhis} birthday, and {A} wanted to bake a cake "
    "for {bhim}. {He} took flour and "
    "milk and [butter|honey]. But there were no eggs[ in the house|].",
    'So {A} went to the hen. "Dear hen, please give me an egg for a cake," {he} said. "[Bring me some corn first|I '
    'will, if you bring me corn]," said the hen.',
    '{A} went to the farmer for corn. "[Bring me a drink of water first|I will, if you bring me water]," said the '
    "farmer. So {A} ran to the well, and brought the water to the farmer, and the corn to the hen. And the hen gave "
    "{him} "
    "two fine eggs.",
    "Then {A} baked the cake. [It was round and brown, and it smelled so good.|It was a little crooked, but it smelled "
    "of honey.] {He} put [a candle|a flower|a cherry] on it.",
    'In the morning {B} opened the door. "Happy birthday!" cried {A}, and the hen, and the farmer. {B} was so '
    "[glad|surprised] that {bhe} could not speak. [Then they ate it all up.|They ate it to the last crumb.]",
)

KING = (
    "Now the [king|queen] of that country was very ill, and only the water from [the well at the end of the world|the "
    'silver spring|the fountain behind the seven hills] could help. "I will bring it," said {A}.',
    "On the first day {he} came to a river. There sat {friend}, who had nothing to eat. {A} gave {bhim} a {food}. "
    '"Thank you," said {B}. "I will come with you. [You may need me.|I know the way.]"',
    "On the second day they came to a [wall|gate|mountain] with no door. {A} did not know what to do. But {B} was "
    "[small|clever] and found a hole, and so they went through.",
    'On the third day they came to the water. A [lion|dragon|wolf] lay before it. "What will you give me?" it asked. '
    '"I have only my {thing}," said {A}. "[That will do|I have always wanted one]," it said, and it let them pass.',
    "They filled a [bottle|cup|jar] and ran home. [The sick one drank|One sip was enough], and the red came back to "
    "the "
    'pale cheeks. "What do you wish for?" "[A feast for everybody|Only a new {thing}|A little house for {B}]," said '
    "{A}. And so it was done.",
)

STORM = (
    "One night there was a great storm. The wind [took the roof off|broke the wall of|blew down] the house of {B}, the "
    "{Bkind}. In the morning {B} sat in the rain and did not know what to do.",
    '"You can live with me," said {A}, "until we build a new one." "[We? I cannot build a house|It is too much work '
    "for "
    'two]," said {B}. "Then we shall ask for help," said {A}.',
    "{A} went from door to door. The beaver brought wood. The [mice|birds] brought straw. The bear carried the heavy "
    "stones, and the [spider|mole] [made the curtains|dug the cellar].",
    "They worked [all day|for three days], and {A} [cooked soup for all of them|sang so that nobody was tired]. "
    "In the evening there stood a new house with a [green|red|blue] door.",
    '"How can I thank you all?" asked {B}. "[Leave the door open|Ask us to supper]," said the bear. And '
    "[that is what {B} did|{B} put the big pot on the fire].",
)

STAR = (
    "One evening {A} looked out of the window and saw a star fall. It fell [behind the hill|into the pond|into the "
    "garden].",
    '{A} ran out to look for it. {He} met {B}, the {Bkind}. "I saw it too!" said {B}. They looked and looked, but all '
    "they "
    "found was [a small white stone|a firefly in the grass].",
    '"[Perhaps|Maybe] the star was only tired," said {B}. "[Shall we watch over it|Let us keep it warm]." So they '
    "sat beside it all night, and in the morning they were friends.",
)

SONG = (
    '{A} wanted to sing, but {his} voice was [thin|rough|very low]. "You sing like an old [door|cart]," said {B}, the '
    "{Bkind}, and laughed.",
    "So {A} sang only when {he} was alone. Then one night there was a thick fog, and {B} could not find the way home. "
    "[{Bhe} called, but nobody heard.|All around it was white.]",
    "Far away {B} heard somebody sing. It was {A}. {B} went after the song, step by step, and came home safely. "
    '"Please sing," said {B} from then on. "[I like your voice|It is the best song I know]."',
)

NEWCOMER = (
    "One {weather} {friend} moved into the house next door. {B} did not know anybody. {Bhe} sat [on the steps|at "
    "the window] and looked sad.",
    '{A} knocked at the door. "[Hello|Good day]," {he} said. "I am {A}. Do you want to [play|see the river|fly a '
    'kite]?" '
    '"Yes," said {B}, and {bhis} eyes were bright.',
    "They played until it was dark. {B} showed {A} {bhis} {gift}, and {A} showed {B} the best place to "
    "[swim|climb|hide].",
)

SNOW = (
    'One morning everything was white. "Snow!" cried {A}, and {he} [ran out without a hat|jumped out of bed]. {He} '
    "made a "
    "snowman with [a carrot nose|two black stones for eyes].",
    '"He looks cold," said {B}, the {Bkind}. So {A} gave the snowman a [scarf|hat|coat]. "[Thank you|How kind]," said '
    "a soft "
    "voice. But when they turned around, the snowman stood as still as before.",
    "In spring the snowman was gone. But where he had stood, there was [one white flower|a ring of white flowers], and "
    "{A} and {B} knew who had left it there.",
)

SHORT = (STAR, SONG, NEWCOMER, SNOW)
PLOTS = (*SHORT, LOST, EARNED, AFRAID, BIRD, SHARED, DRAGON, MAGIC, QUARREL, RACE, GARDEN, HOMEWARD, CAKE, KING, STORM)
