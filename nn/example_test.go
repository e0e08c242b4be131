package nn_test

import (
	"context"
	_ "embed"
	"fmt"
	"log"
	"slices"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/safetensors"
	"github.com/selkie-ml/selkie/tensor"
)

// Finetuning a LoRA adapter until the model knows a text by heart.
func ExampleModel_FinetuneAdapters() {
	dev, err := tensor.Open("auto", tensor.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	model, err := nn.Load(dev, "testdata/golden/llama-tiny", nn.LoadOptions{}) // any Llama or Qwen2 folder
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	text := []int32{1, 50, 60, 70, 80, 90, 100, 110, 120, 2} // of package tokenizer
	results, err := model.FinetuneAdapters(context.Background(), []nn.Job{{
		LoRA:     nn.LoRAConfig{Rank: 8, Alpha: 16, Targets: nn.AllProjections()},
		Examples: []nn.Example{{Tokens: text}},
		Epochs:   40, Batch: 1,
		AdamW:    nn.DefaultAdamW(),
		Schedule: nn.Schedule{Kind: "linear", LR: 1e-2},
	}}, nn.FinetuneOptions{})
	if err != nil {
		log.Fatal(err)
	}

	adapters, err := nn.NewPoolOf(model, results[0].Adapter)
	if err != nil {
		log.Fatal(err)
	}
	defer adapters.Free()
	generator := nn.NewGenerator(model, adapters, nn.GeneratorOptions{})
	defer generator.Close()
	out, err := generator.Run(context.Background(), []nn.Request{{Prompt: text[:2], MaxNew: 20, Stop: model.Config.EOS}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(out[0].Tokens, out[0].Finish)
	// Output: [60 70 80 90 100 110 120] stop
}

// Three samples of one prompt, which is computed once.
func ExampleGenerator_Run() {
	dev, err := tensor.Open("auto", tensor.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	model, err := nn.Load(dev, "testdata/golden/qwen2-tiny", nn.LoadOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	generator := nn.NewGenerator(model, nil, nn.GeneratorOptions{})
	defer generator.Close()
	requests := make([]nn.Request, 3)
	for i := range requests {
		requests[i] = nn.Request{
			Prompt: []int32{5, 6, 7, 8}, MaxNew: 12, Adapter: nn.NoAdapter,
			Sampling: nn.Sampling{Temperature: 1, TopP: 0.95}, Key: nn.Key{42, uint32(i)},
		}
	}
	out, err := generator.Run(context.Background(), requests)
	if err != nil {
		log.Fatal(err)
	}
	for i, c := range out {
		fmt.Println("sample", i, "has", len(c.Tokens), "tokens, ended by", c.Finish)
	}
	fmt.Println(generator.Stats.Shared, "positions were shared")
	// Output:
	// sample 0 has 12 tokens, ended by length
	// sample 1 has 12 tokens, ended by length
	// sample 2 has 12 tokens, ended by length
	// 6 positions were shared
}

// A training loop of one's own, on the primitives: all parameters, here.
func ExampleTrainer() {
	dev, err := tensor.Open("auto", tensor.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	model, err := nn.Load(dev, "testdata/golden/qwen2-tiny", nn.LoadOptions{Float32: true})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	trainer, err := nn.NewFullTrainer(model, (*nn.Param).IsMatrix)
	if err != nil {
		log.Fatal(err)
	}
	defer trainer.Close()

	text := []int32{3, 1, 4, 1, 5, 9, 2, 6}
	batch := []nn.Sequence{nn.NextToken(text, 0, 1/float32(len(text)-1), nn.NoAdapter)}
	schedule := nn.Schedule{Kind: "cosine", LR: 1e-2, Warmup: 5}
	const steps = 60
	var losses []float64
	for i := range steps {
		l, err := trainer.ForwardBackward(batch)
		if err != nil {
			log.Fatal(err)
		}
		losses = append(losses, l.Sum[0])
		if _, err := trainer.OptimStep([]nn.Update{{LR: schedule.At(i, steps), AdamW: nn.DefaultAdamW()}}); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(losses[0] > 4, slices.Min(losses) < 0.1)
	// Output: true true
}

//go:embed testdata/golden/qwen2-tiny/model.safetensors
var weights []byte

//go:embed testdata/golden/qwen2-tiny/config.json
var config []byte

// A model within the program itself.
func ExampleFromSource() {
	dev, err := tensor.Open("auto", tensor.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	c, err := nn.ParseConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	file, err := safetensors.Parse("embedded weights", weights)
	if err != nil {
		log.Fatal(err)
	}
	model, err := nn.FromSource(dev, c, file, nn.LoadOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	fmt.Println(c.ModelType, "with", c.NumParameters(), "parameters")
	// Output: qwen2 with 25888 parameters
}
