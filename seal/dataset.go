package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"
)

// Article is one passage and the questions asked about it.
type Article struct {
	ID        string     `json:"id"` // position in its file and a digest of title and context, see ItemID
	Title     string     `json:"title"`
	Context   string     `json:"context"` // the passage
	Questions []Question `json:"questions"`
}

// Question is asked without the passage; Answer is the gold answer.
type Question struct {
	Question string `json:"question"`
	Answer   string `json:"answer"`
}

// ItemID names the article at a position of its file: the position, counted
// from 0 in at least six digits so that ids sort as positions do, a hyphen, and
// the first 8 hexadecimal digits of SHA-256 over title and context. The title is
// preceded by its length in bytes (8 bytes, little-endian), so that no two pairs
// share an encoding.
func ItemID(position int, title, context string) string {
	h := sha256.New()
	var length [8]byte
	binary.LittleEndian.PutUint64(length[:], uint64(len(title)))
	h.Write(length[:])
	h.Write([]byte(title))
	h.Write([]byte(context))
	return fmt.Sprintf("%06d-%x", position, h.Sum(nil)[:4])
}

// ReadArticles reads a JSON array of {title, context, questions: [{question,
// answer}]}, the form in which SEAL uses SQuAD. Other fields are ignored and
// titles, even whole articles, may repeat. An error names the file and the
// article, counted from 0, with its field, or the line where the JSON breaks.
func ReadArticles(path string) ([]Article, error) {
	data, err := readText(path)
	if err != nil {
		return nil, err
	}
	var items []json.RawMessage
	if err := decodeJSON(data, &items); err != nil {
		return nil, fmt.Errorf("%s: expected an array of articles {title, context, questions}: %w", path, err)
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("%s: holds no articles", path)
	}
	articles := make([]Article, len(items))
	for i, item := range items {
		if articles[i], err = parseArticle(i, item); err != nil {
			return nil, fmt.Errorf("%s: article %d: %w", path, i, err)
		}
	}
	return articles, nil
}

func parseArticle(position int, data []byte) (Article, error) {
	var a struct {
		Title, Context string
		Questions      []Question
	}
	if err := decodeJSON(data, &a); err != nil {
		return Article{}, err
	}
	if err := notBlank("title", a.Title); err != nil {
		return Article{}, err
	}
	if err := notBlank("context", a.Context); err != nil {
		return Article{}, err
	}
	if len(a.Questions) == 0 {
		return Article{}, errors.New("field questions is missing or empty: an article needs at least one question")
	}
	for i, q := range a.Questions {
		if err := notBlank(fmt.Sprintf("questions[%d].question", i), q.Question); err != nil {
			return Article{}, err
		}
		if err := notBlank(fmt.Sprintf("questions[%d].answer", i), q.Answer); err != nil {
			return Article{}, err
		}
	}
	id := ItemID(position, a.Title, a.Context)
	return Article{ID: id, Title: a.Title, Context: a.Context, Questions: a.Questions}, nil
}

func notBlank(field, value string) error {
	if strings.TrimSpace(value) == "" {
		return fmt.Errorf("field %s is missing or empty", field)
	}
	return nil
}

// readText reads a file that must hold some UTF-8 text; a byte order mark is dropped.
func readText(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err // names the path already
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, fmt.Errorf("%s: the file is empty", path)
	}
	if !utf8.Valid(data) {
		bad := 0
		for {
			r, n := utf8.DecodeRune(data[bad:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			bad += n
		}
		return nil, fmt.Errorf("%s: line %d: not valid UTF-8", path, lineAt(data, bad))
	}
	return data, nil
}

// decodeJSON unmarshals one JSON value and turns a failure into words: where
// the text breaks, or which field holds the wrong kind of value.
func decodeJSON(data []byte, into any) error {
	err := json.Unmarshal(data, into)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("malformed JSON at line %d: %w", lineAt(data, int(syntax.Offset)-1), err)
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("field %s: expected %s, found a JSON %s", strings.ToLower(kind.Field), kindName(kind), kind.Value)
	case errors.As(err, &kind):
		return fmt.Errorf("expected %s, found a JSON %s", kindName(kind), kind.Value)
	}
	return err
}

func kindName(e *json.UnmarshalTypeError) string {
	switch k := e.Type.Kind().String(); k {
	case "slice":
		return "an array"
	case "struct", "map":
		return "an object"
	default:
		return "a " + k
	}
}

// lineAt is the line, counted from 1, that holds the byte at an offset.
func lineAt(data []byte, offset int) int {
	offset = max(0, min(offset, len(data)))
	return 1 + bytes.Count(data[:offset], []byte("\n"))
}
