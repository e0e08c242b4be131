package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	singleFile = "model.safetensors"
	indexFile  = "model.safetensors.index.json"
)

// Checkpoint is a model folder's weights, in one file or several. Its methods
// may be called concurrently, Close excepted.
type Checkpoint struct {
	dir   string
	files []*File
	at    map[string]*File // which file holds a tensor
	names []string         // sorted
}

// OpenModel opens the weights in a Hugging Face model folder: model.safetensors,
// or else the shards that model.safetensors.index.json lists. Index and shards
// must agree on every tensor.
func OpenModel(dir string) (*Checkpoint, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, explainOpen(dir, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("safetensors: %s: expected a model folder, found a file: give the folder that holds it", dir)
	}
	c := &Checkpoint{dir: dir, at: map[string]*File{}}
	switch {
	case exists(filepath.Join(dir, singleFile)):
		err = c.openFile(singleFile)
	case exists(filepath.Join(dir, indexFile)):
		err = c.openShards()
	default:
		err = fmt.Errorf("safetensors: %s: expected %s or %s, found neither%s", dir, singleFile, indexFile, otherWeights(dir))
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.names = make([]string, 0, len(c.at))
	for name := range c.at {
		c.names = append(c.names, name)
	}
	slices.Sort(c.names)
	return c, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// otherWeights says what to do about weights in another form.
func otherWeights(dir string) string {
	for _, pattern := range []string{"*.bin", "*.pth", "*.pt", "*.gguf"} {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
			return fmt.Sprintf(", but %s: only safetensors are read, convert it first", filepath.Base(found[0]))
		}
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "*.safetensors")); len(found) > 0 {
		return fmt.Sprintf(", but %s: rename a single file to %s, or add the index of its shards", filepath.Base(found[0]), singleFile)
	}
	return ": give the folder that holds a model's config.json and weights"
}

// openFile opens a file of the folder and takes in its tensors.
func (c *Checkpoint) openFile(name string) error {
	f, err := Open(filepath.Join(c.dir, name))
	if err != nil {
		return err
	}
	c.files = append(c.files, f)
	for _, tensor := range f.Names() {
		if other := c.at[tensor]; other != nil {
			return fmt.Errorf("safetensors: %s: tensor %s is in %s and in %s: expected it in one of them; remove files that belong to another model", c.dir, quote(tensor), filepath.Base(other.path), name)
		}
		c.at[tensor] = f
	}
	return nil
}

func (c *Checkpoint) openShards() error {
	path := filepath.Join(c.dir, indexFile)
	weightMap, err := readIndex(path)
	if err != nil {
		return fmt.Errorf("safetensors: %s: %w", path, err)
	}
	tensors := make([]string, 0, len(weightMap))
	uses := map[string]int{} // how many tensors the index puts into a shard
	for tensor, shard := range weightMap {
		tensors = append(tensors, tensor)
		uses[shard]++
	}
	slices.Sort(tensors)
	shards := make([]string, 0, len(uses))
	for shard := range uses {
		shards = append(shards, shard)
	}
	slices.Sort(shards)
	for _, shard := range shards {
		if !exists(filepath.Join(c.dir, shard)) {
			return fmt.Errorf("safetensors: %s: the shard %s does not exist, but the index puts %d tensors into it: download it", c.dir, quote(shard), uses[shard])
		}
		if err := c.openFile(shard); err != nil {
			return err
		}
	}
	for _, tensor := range tensors {
		shard := weightMap[tensor]
		switch f := c.at[tensor]; {
		case f == nil:
			return fmt.Errorf("safetensors: %s: the index puts tensor %s into %s, which does not hold it: download shards and index of one model again", c.dir, quote(tensor), shard)
		case filepath.Base(f.path) != shard:
			return fmt.Errorf("safetensors: %s: the index puts tensor %s into %s, but it is in %s: download shards and index of one model again", c.dir, quote(tensor), shard, filepath.Base(f.path))
		}
	}
	for _, f := range c.files {
		for _, tensor := range f.Names() {
			if _, ok := weightMap[tensor]; !ok {
				return fmt.Errorf("safetensors: %s: %s holds tensor %s, which the index does not list: download shards and index of one model again", c.dir, filepath.Base(f.path), quote(tensor))
			}
		}
	}
	return nil
}

// readIndex returns the index's weight_map: the shard of each tensor. Its other
// fields are information only, and often wrong for tied weights.
func readIndex(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(text) {
		return nil, errors.New("not valid UTF-8: download it again")
	}
	if err := checkSyntax(text); err != nil {
		return nil, fmt.Errorf("not valid JSON: %w: download it again", err)
	}
	var weightMap map[string]string
	dec := json.NewDecoder(bytes.NewReader(text))
	err = eachKey(dec, "the index", func(key string) error {
		if key != "weight_map" {
			var ignored json.RawMessage
			return dec.Decode(&ignored)
		}
		weightMap = map[string]string{}
		return eachKey(dec, "weight_map", func(tensor string) error {
			tok, err := dec.Token()
			shard, ok := tok.(string)
			if err != nil || !ok {
				return fmt.Errorf("expected a file name for tensor %s, found %s", quote(tensor), describe(tok))
			}
			if !filepath.IsLocal(shard) || strings.ContainsAny(shard, `/\:`) || !strings.HasSuffix(shard, ".safetensors") {
				return fmt.Errorf("tensor %s: expected the name of a .safetensors file beside the index, found %s", quote(tensor), quote(shard))
			}
			weightMap[tensor] = shard
			return nil
		})
	})
	if err == nil && weightMap == nil {
		err = errors.New("expected a field weight_map, found none: download it again")
	}
	return weightMap, err
}

// Dir returns the path given to OpenModel.
func (c *Checkpoint) Dir() string { return c.dir }

// Files returns the open files, sorted by name.
func (c *Checkpoint) Files() []*File { return slices.Clone(c.files) }

// Names returns all tensor names, sorted.
func (c *Checkpoint) Names() []string { return slices.Clone(c.names) }

// Has tells whether the model holds a tensor of that name.
func (c *Checkpoint) Has(name string) bool { return c.at[name] != nil }

// Tensor returns the tensor of that name, or an error that wraps ErrNoTensor.
func (c *Checkpoint) Tensor(name string) (Tensor, error) {
	f := c.at[name]
	if f == nil {
		return Tensor{}, fmt.Errorf("safetensors: %s: %w %s: %s", c.dir, ErrNoTensor, quote(name), similar(name, c.names))
	}
	return f.Tensor(name)
}

// Close closes all files, as File.Close does.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

var (
	_ Source = (*File)(nil)
	_ Source = (*Checkpoint)(nil)
)
