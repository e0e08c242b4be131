package tokenizer

import "encoding/json"

// templates are the chat templates of a tokenizer, by name.
type templates struct {
	byName map[string]string
	file   []byte
}

func (c *templates) set(name, source string) {
	if c.byName == nil {
		c.byName = map[string]string{}
	}
	c.byName[name] = source
}

func (c *templates) parse(raw json.RawMessage) error { return nil }
