package nn_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/selkie-ml/selkie/nn"
)

// The published numbers of parameters pin every shape.
func TestPresets(t *testing.T) {
	parameters := map[string]int64{
		"qwen2.5-0.5b": 494_032_768, "qwen2.5-1.5b": 1_543_714_304, "qwen2.5-3b": 3_085_938_688, "qwen2.5-7b": 7_615_616_512,
		"llama3.2-1b": 1_235_814_400, "llama3.2-3b": 3_212_749_824, "llama3.1-8b": 8_030_261_248,
	}
	for _, name := range nn.PresetNames() {
		c, err := nn.Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		if want, ok := parameters[name]; ok && c.NumParameters() != want {
			t.Errorf("%s has %d parameters, published are %d", name, c.NumParameters(), want)
		}
		data, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		back, err := nn.ParseConfig(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(back, c) {
			t.Errorf("%s reads back as\n%+v, want\n%+v", name, back, c)
		}
	}
	if _, err := nn.Preset("gpt-5"); err == nil {
		t.Error("an unknown shape was accepted")
	}
}
