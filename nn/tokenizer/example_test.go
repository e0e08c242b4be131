package tokenizer_test

import (
	"fmt"
	"slices"

	"github.com/selkie-ml/selkie/nn/tokenizer"
)

func Example() {
	texts := []string{"the river and the mill, the rivers and the mills"}
	tok, err := tokenizer.Train(slices.Values(texts), tokenizer.TrainOptions{
		VocabSize: 280, Special: []string{"<|endoftext|>"}, EOS: "<|endoftext|>",
	})
	if err != nil {
		panic(err)
	}
	ids, offsets := tok.EncodeOffsets("the mills", false)
	for i, id := range ids {
		fmt.Printf("%q %v\n", tok.Token(id), offsets[i])
	}
	fmt.Println(tok.Decode(ids, true))

	// Streaming prints what is certain and never half a character.
	stream := tok.NewStream()
	for _, id := range tok.Encode("é!", false) {
		fmt.Printf("%q ", stream.Push(id))
	}
	fmt.Printf("%q\n", stream.Flush())
	// Output:
	// "the" {0 3}
	// "Ġmills" {3 9}
	// the mills
	// "" "é" "!" ""
}
