package philox

// Purpose separates the streams of one run. Values are stored implicitly in
// every run's results: append, never renumber.
type Purpose uint64

// Every purpose for which the project draws random numbers.
const (
	PurposeNone          Purpose = iota
	PurposeInitWeights           // random weights of a new model
	PurposeInitAdapter           // A of a new LoRA adapter
	PurposeSampleEdit            // tokens of a self-edit
	PurposeSampleAnswer          // tokens of an answer, when not greedy
	PurposeShuffleInner          // order of sequences in the inner update
	PurposeShuffleOuter          // order of pairs in the outer update
	PurposeChooseArticle         // which articles a round uses
	PurposeBreakTie              // which of equal rewards is kept
	PurposePermute               // the control that permutes rewards
	PurposeBootstrap             // resampling for intervals
	PurposeWorld                 // the demo's world
	PurposePretrain              // documents and order in pretraining
	PurposeGenerate              // seal-run generate
	PurposeFinetune              // order in seal-run finetune
	PurposeAugment               // few-shot augmentations
	PurposeTest                  // tests
)
