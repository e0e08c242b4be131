package demo

import (
	"fmt"

	"github.com/selkie-ml/selkie/seal"
	"github.com/selkie-ml/selkie/seal/settings"
	"github.com/selkie-ml/selkie/seal/world"
	"github.com/selkie-ml/selkie/tensor"
)

// ContinualSettings are those of continual self-edits on the demo's world: its
// inner update, and as many sequences of as many passages as the paper's.
func ContinualSettings(seed int) settings.Settings {
	s := Settings(Short, seed)
	s.Outer.Rounds, s.Eval.Controls = 0, nil
	return s
}

// ContinualInputs are the embedded model (or one in a folder), passages that it
// has never seen, and with oracle the best style's self-edits about them: what is
// then forgotten is not mixed up with what was never learnt. Close the model.
func ContinualInputs(dev *tensor.Device, modelDir string, split world.Split, s settings.Settings, oracle bool) (seal.Inputs, error) {
	model, tok, fingerprint, err := load(dev, modelDir)
	if err != nil {
		return seal.Inputs{}, err
	}
	s.Data.EvalArticles = s.Continual.Sequences * s.Continual.Length
	in := Inputs(split, s, int(s.Run.Seed))
	in.Model, in.Tokenizer = model, tok
	in.Fingerprints = map[string]string{"model": fingerprint, "world": fmt.Sprintf("%v %d", split, world.Recipe.WorldSeed), "oracle": fmt.Sprint(oracle)}
	if !oracle {
		in.Outside = nil
	}
	return in, nil
}
