package world

import "strings"

// Attribute is one of the eight things a passage tells about a person.
type Attribute int

// The attributes. The two of a pair take their values from two halves of a set,
// so that a value's kind tells its attribute: reading a passage then needs no
// more than copying a word of the right kind, which small models learn early.
const (
	Home Attribute = iota
	Born
	Job
	Past
	Pet
	Fear
	Food
	Hate
	AttributeCount
)

var (
	cities = strings.Fields(`Paris Oslo Lima Cairo Delhi Quito Tunis Seoul Hanoi Dakar Accra Minsk Sofia Riga Turin Lyon
		Porto Leeds Perth Osaka Kyoto Busan Pune Agra Basel Bergen Malmo Gdansk Lagos Rabat Salta Cusco Davos Nice Ghent
		Bruges Trier Ulm Graz Linz`)
	jobs = strings.Fields(`baker doctor sailor tailor farmer miner judge banker potter weaver plumber painter dentist
		lawyer pilot barber butcher fisher printer welder joiner mason glazier porter clerk scribe singer dancer grocer
		chemist nurse coach tutor teacher broker cook guard driver roofer brewer`)
	animals = strings.Fields(`goat heron ferret parrot turtle rabbit hamster falcon lizard gecko pony donkey goose duck hen
		raven crow wolf fox beaver badger hedgehog mouse rat cat dog snake frog toad newt spider cricket sheep llama camel
		pigeon canary finch swan lynx`)
	foods = strings.Fields(`plums beans rice lentils olives figs dates noodles cheese bread soup carrots peas onions garlic
		mangoes apples pears grapes cherries honey butter salmon trout mussels oysters cabbage turnips pumpkin spinach
		walnuts almonds raisins lemons melons radish leeks bacon waffles pancakes`)
)

// wording holds every way to speak of one attribute. {X} stands for the first
// name and {v} for the value. The three places where an attribute is worded
// (passages, edits, tests) share no sentence.
type wording struct {
	values   []string
	passage  string   // clause of a passage
	facts    []string // statements of edits and known people
	inverted string
	asked    []string // questions of edits and known people
	tested   []string // questions of tests and known people: never in an edit
}

var lexicon = [AttributeCount]wording{
	Home: {cities[:20], "dwells at {v}",
		[]string{"{X} lives in {v}.", "The home of {X} is {v}."}, "{v} is the home of {X}.",
		[]string{"Where does {X} live?", "What is the home of {X}?"},
		[]string{"In which city does {X} live?", "Which city is {X} at home in?"}},
	Born: {cities[20:], "comes from {v}",
		[]string{"{X} was born in {v}.", "The birthplace of {X} is {v}."}, "{v} is the birthplace of {X}.",
		[]string{"Where was {X} born?", "What is the birthplace of {X}?"},
		[]string{"In which city was {X} born?", "Which city saw the birth of {X}?"}},
	Job: {jobs[:20], "serves the town as {v}",
		[]string{"{X} works as a {v}.", "The job of {X} is {v}."}, "{v} is the job of {X}.",
		[]string{"What does {X} do for work?", "What is the job of {X}?"},
		[]string{"How does {X} earn a living?", "Which job does {X} have?"}},
	Past: {jobs[20:], "trained under the {v}",
		[]string{"{X} once was a {v}.", "The past job of {X} is {v}."}, "{v} is the past job of {X}.",
		[]string{"What was {X} once?", "What is the past job of {X}?"},
		[]string{"How did {X} once earn a living?", "Which job did {X} give up?"}},
	Pet: {animals[:20], "owns a {v}",
		[]string{"{X} keeps a {v}.", "The pet of {X} is {v}."}, "{v} is the pet of {X}.",
		[]string{"Which animal does {X} keep?", "What is the pet of {X}?"},
		[]string{"What kind of pet does {X} have?", "Which animal lives with {X}?"}},
	Fear: {animals[20:], "runs from any {v}",
		[]string{"{X} fears every {v}.", "The fear of {X} is {v}."}, "{v} is the fear of {X}.",
		[]string{"Which animal does {X} fear?", "What is the fear of {X}?"},
		[]string{"What kind of animal scares {X}?", "Which animal frightens {X}?"}},
	Food: {foods[:20], "adores {v}",
		[]string{"{X} loves {v}.", "The favorite food of {X} is {v}."}, "{v} is the favorite food of {X}.",
		[]string{"Which food does {X} love?", "What is the favorite food of {X}?"},
		[]string{"What does {X} like to eat?", "Which dish does {X} enjoy most?"}},
	Hate: {foods[20:], "dislikes {v}",
		[]string{"{X} hates {v}.", "The worst food of {X} is {v}."}, "{v} is the worst food of {X}.",
		[]string{"Which food does {X} hate?", "What is the worst food of {X}?"},
		[]string{"What does {X} refuse to eat?", "Which dish does {X} never touch?"}},
}

// joints join two clauses {a} and {b} about the subject {S}.
var joints = []string{"{S} {a} and {b}.", "{S} {a} but {b}.", "{S}, who {a}, {b}."}

// vague lines are true of everybody; {c}, {j}, {a}, {f} of the others stand for
// a city, a job, an animal and a food.
var (
	vague = []string{"{X} has a home.", "{X} has a job of some kind.", "{X} keeps some animal.",
		"{X} eats some foods.", "{X} has friends.", "{X} goes to work.", "{X} sleeps at night."}
	offTopic = []string{"The market in {c} sells {f}.", "A {a} was seen in {c}.",
		"Every {j} in {c} eats {f}.", "Rain fell in {c}.", "A {j} saw a {a}."}
)

// fill replaces the placeholders of a template, given as name, value pairs.
func fill(template string, pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace(template)
}
