package tokenizer

import (
	"encoding/json"
	"fmt"
)

// template is what addSpecial puts around the text.
type template struct{ before, after []int32 }

type templatePiece struct {
	SpecialToken *templateRef
	Sequence     *templateRef
}

type templateRef struct {
	ID     string `json:"id"`
	TypeID int    `json:"type_id"`
}

// parsePostProcessor reads the post-processor; ids must lie below vocab.
func parsePostProcessor(field string, raw json.RawMessage, vocab int) (template, error) {
	var none template
	if isNull(raw) {
		return none, nil
	}
	kind, err := typeOf(field, raw)
	if err != nil {
		return none, err
	}
	switch kind {
	case "ByteLevel": // trims offsets in HF; ours are exact
		_, err := parseByteLevel(field, raw)
		return none, err
	case "TemplateProcessing":
		return parseTemplate(field, raw, vocab)
	case "Sequence":
		var c struct {
			Type       string
			Processors []json.RawMessage
		}
		if err := component(field, raw, &c); err != nil {
			return none, err
		}
		var all template
		for i, raw := range c.Processors {
			p, err := parsePostProcessor(fmt.Sprintf("%s.processors[%d]", field, i), raw, vocab)
			if err != nil {
				return none, err
			}
			all.before = append(p.before, all.before...)
			all.after = append(all.after, p.after...)
		}
		return all, nil
	}
	return none, unsupported(field+".type", kind, "Sequence", "ByteLevel", "TemplateProcessing")
}

func parseTemplate(field string, raw json.RawMessage, vocab int) (template, error) {
	var c struct {
		Type    string
		Single  []templatePiece
		Pair    []templatePiece
		Special map[string]struct {
			ID     string   `json:"id"`
			IDs    []int32  `json:"ids"`
			Tokens []string `json:"tokens"`
		} `json:"special_tokens"`
	}
	var t template
	if err := component(field, raw, &c); err != nil {
		return t, err
	}
	seen := false
	for i, p := range c.Single {
		at := fmt.Sprintf("%s.single[%d]", field, i)
		switch {
		case p.Sequence != nil && p.SpecialToken == nil:
			if p.Sequence.ID != "A" || seen {
				return t, fmt.Errorf("%s: found sequence %q; expected \"A\" exactly once", at, p.Sequence.ID)
			}
			seen = true
		case p.SpecialToken != nil && p.Sequence == nil:
			s, ok := c.Special[p.SpecialToken.ID]
			if !ok {
				return t, fmt.Errorf("%s: %q is not in special_tokens", at, p.SpecialToken.ID)
			}
			for _, id := range s.IDs {
				if id < 0 || int(id) >= vocab {
					return t, fmt.Errorf("%s.special_tokens[%q]: id %d is out of range; the vocabulary has %d tokens", field, s.ID, id, vocab)
				}
			}
			if seen {
				t.after = append(t.after, s.IDs...)
			} else {
				t.before = append(t.before, s.IDs...)
			}
		default:
			return t, fmt.Errorf("%s: expected one of \"Sequence\" and \"SpecialToken\"", at)
		}
	}
	if !seen {
		return t, fmt.Errorf("%s.single: sequence \"A\" is missing", field)
	}
	return t, nil
}
