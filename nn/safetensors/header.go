package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxHeader is the largest header accepted, the limit of the reference
// implementation.
const maxHeader = 100_000_000

const metadataKey = "__metadata__"

// entry is one tensor as the header describes it; offsets count from the end of
// the header.
type entry struct {
	name       string
	dtype      DType
	shape      []int
	begin, end int
}

// header is a validated header: its entries, sorted by name, cover the data
// exactly.
type header struct {
	entries  []entry
	metadata map[string]string
	dataAt   int // offset of the data in the file
}

// parse validates a whole file except for the tensors' values.
func parse(file []byte) (*header, error) {
	if bytes.HasPrefix(file, []byte("version https://git-lfs")) {
		return nil, errors.New("it is a Git LFS pointer, not the weights: fetch them by `git lfs pull`")
	}
	if len(file) < 8 {
		return nil, fmt.Errorf("expected at least the 8 bytes of a header length, found %d: the file is empty or truncated, download or write it again", len(file))
	}
	n := binary.LittleEndian.Uint64(file)
	if n > maxHeader {
		return nil, fmt.Errorf("expected a header of at most %d bytes, found the length %d: this is no safetensors file, or a damaged one", maxHeader, n)
	}
	if n > uint64(len(file)-8) {
		return nil, fmt.Errorf("expected a header of %d bytes, found only %d bytes after its length: the file is truncated, download or write it again", n, len(file)-8)
	}
	h, err := parseJSON(file[8 : 8+n])
	if err != nil {
		return nil, err
	}
	h.dataAt = 8 + int(n)
	return h, h.checkLayout(len(file) - h.dataAt)
}

// parseJSON reads the header object strictly: encoding/json alone would take
// the last of two equal keys and match names in any case.
func parseJSON(text []byte) (*header, error) {
	if len(text) == 0 || text[0] != '{' {
		return nil, fmt.Errorf("expected the header to begin with {, found %q: this is no safetensors file, or a damaged one", text[:min(len(text), 8)])
	}
	if !utf8.Valid(text) {
		return nil, errors.New("the header is not valid UTF-8: the file is damaged, download or write it again")
	}
	if err := checkSyntax(text); err != nil {
		return nil, fmt.Errorf("the header is not valid JSON: %w: the file is damaged, download or write it again", err)
	}
	h := &header{}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	err := eachKey(dec, "the header", func(key string) error {
		if key == metadataKey {
			return h.parseMetadata(dec)
		}
		e, err := parseEntry(dec, key)
		if err != nil {
			return fmt.Errorf("tensor %s: %w", quote(key), err)
		}
		h.entries = append(h.entries, e)
		return nil
	})
	return h, err
}

// checkSyntax reports the first syntax error with its position.
func checkSyntax(text []byte) error {
	if json.Valid(text) {
		return nil
	}
	var raw json.RawMessage
	err := json.Unmarshal(text, &raw)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("%v at byte %d", err, syntax.Offset)
	}
	return err
}

// eachKey walks an object of syntactically valid JSON; value reads exactly one
// value.
func eachKey(dec *json.Decoder, what string, value func(key string) error) error {
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return fmt.Errorf("expected %s to be a JSON object, found %s", what, describe(tok))
	}
	seen := map[string]bool{}
	for dec.More() {
		tok, err := dec.Token()
		key, ok := tok.(string)
		if err != nil || !ok {
			return fmt.Errorf("expected a key in %s, found %s", what, describe(tok))
		}
		if seen[key] {
			return fmt.Errorf("the key %s occurs twice in %s: which one holds cannot be known, write the file again", quote(key), what)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return err
}

func describe(tok json.Token) string {
	switch v := tok.(type) {
	case nil:
		return "null"
	case string:
		return "the string " + quote(v)
	case json.Delim:
		return "a " + v.String()
	}
	return brief(fmt.Sprint(tok))
}

func (h *header) parseMetadata(dec *json.Decoder) error {
	h.metadata = map[string]string{}
	return eachKey(dec, metadataKey, func(key string) error {
		tok, err := dec.Token()
		s, ok := tok.(string)
		if err != nil || !ok {
			return fmt.Errorf("expected %s of %s to be a string, found %s", quote(key), metadataKey, describe(tok))
		}
		h.metadata[key] = s
		return nil
	})
}

func parseEntry(dec *json.Decoder, name string) (entry, error) {
	e := entry{name: name, begin: -1}
	err := eachKey(dec, "its description", func(key string) error {
		switch key {
		case "dtype":
			tok, err := dec.Token()
			s, ok := tok.(string)
			if err != nil || !ok {
				return fmt.Errorf("expected dtype to be a string, found %s", describe(tok))
			}
			if e.dtype, ok = parseDType(s); !ok {
				return fmt.Errorf("unknown dtype %s: expected one of %s; convert the file to one of them", quote(s), knownDTypes())
			}
		case "shape":
			shape, err := parseInts(dec, "shape")
			e.shape = shape
			return err
		case "data_offsets":
			at, err := parseInts(dec, "data_offsets")
			if err != nil {
				return err
			}
			if len(at) != 2 {
				return fmt.Errorf("expected data_offsets to be two numbers, begin and end, found %d", len(at))
			}
			e.begin, e.end = at[0], at[1]
		default:
			return fmt.Errorf("unknown field %s: expected dtype, shape and data_offsets only; the file may need a newer reader", quote(key))
		}
		return nil
	})
	if err != nil {
		return e, err
	}
	var missing []string
	if e.dtype == Invalid {
		missing = append(missing, "dtype")
	}
	if e.shape == nil {
		missing = append(missing, "shape")
	}
	if e.begin < 0 {
		missing = append(missing, "data_offsets")
	}
	if missing != nil {
		return e, fmt.Errorf("expected dtype, shape and data_offsets, found no %s: the file is damaged, write it again", strings.Join(missing, ", "))
	}
	return e, e.check()
}

// check compares the entry's offsets, shape and dtype with one another.
func (e entry) check() error {
	if e.begin > e.end {
		return fmt.Errorf("expected data_offsets [begin, end] with begin ≤ end, found [%d, %d]: the file is damaged, write it again", e.begin, e.end)
	}
	size, err := byteSize(e.dtype, e.shape)
	if err != nil {
		return fmt.Errorf("%w; the file is damaged, write it again", err)
	}
	if e.end-e.begin != size {
		return fmt.Errorf("expected %d bytes for shape %s of %v, found data_offsets [%d, %d] of %d bytes: the file is damaged, write it again",
			size, brief(fmt.Sprint(e.shape)), e.dtype, e.begin, e.end, e.end-e.begin)
	}
	return nil
}

// parseInts reads an array of integers in 0…MaxInt; it is never nil.
func parseInts(dec *json.Decoder, field string) ([]int, error) {
	if tok, err := dec.Token(); err != nil || tok != json.Delim('[') {
		return nil, fmt.Errorf("expected %s to be an array of numbers, found %s", field, describe(tok))
	}
	ints := []int{}
	for dec.More() {
		tok, err := dec.Token()
		number, ok := tok.(json.Number)
		if err != nil || !ok {
			return nil, fmt.Errorf("expected %s to hold numbers, found %s", field, describe(tok))
		}
		v, err := strconv.ParseUint(number.String(), 10, 64)
		if err != nil || v > math.MaxInt {
			return nil, fmt.Errorf("expected %s to hold whole numbers from 0 to %d, found %s", field, math.MaxInt, brief(number.String()))
		}
		ints = append(ints, int(v))
	}
	_, err := dec.Token()
	return ints, err
}

// checkLayout requires the tensors to lie in the data end to end, each aligned
// to its element size within the file, and sorts the entries by name.
func (h *header) checkLayout(dataLen int) error {
	slices.SortFunc(h.entries, func(a, b entry) int {
		if a.begin != b.begin {
			return compare(a.begin, b.begin)
		}
		if a.end != b.end {
			return compare(a.end, b.end)
		}
		return strings.Compare(a.name, b.name)
	})
	at, before := 0, "the header"
	for _, e := range h.entries {
		switch {
		case e.end > dataLen:
			return fmt.Errorf("tensor %s: expected its data to end within the file's %d bytes of data, found data_offsets [%d, %d]: the file is truncated, download or write it again",
				quote(e.name), dataLen, e.begin, e.end)
		case e.begin < at:
			return fmt.Errorf("tensor %s: expected its data to begin at %d, where %s ends, found %d: they overlap; write the file again", quote(e.name), at, before, e.begin)
		case e.begin > at:
			return fmt.Errorf("tensor %s: expected its data to begin at %d, where %s ends, found %d: there is a hole; write the file again", quote(e.name), at, before, e.begin)
		case (h.dataAt+e.begin)%e.dtype.Size() != 0 && e.begin < e.end:
			return fmt.Errorf("tensor %s: expected its data at a multiple of %d, the size of %v, found it at byte %d of the file: load and save the file with a current safetensors library, which aligns it",
				quote(e.name), e.dtype.Size(), e.dtype, h.dataAt+e.begin)
		}
		at, before = e.end, quote(e.name)
	}
	if at != dataLen {
		return fmt.Errorf("expected the file to end with %s after %d bytes of data, found %d bytes: it is damaged, or two files in one; download or write it again", before, at, dataLen)
	}
	slices.SortFunc(h.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return nil
}

func compare(a, b int) int {
	if a < b {
		return -1
	}
	return 1
}

func knownDTypes() string {
	var names []string
	for d := Invalid + 1; d < numDTypes; d++ {
		names = append(names, d.String())
	}
	return strings.Join(names, ", ")
}
