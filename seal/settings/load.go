package settings

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Load returns the defaults overlaid with the YAML file at path.
func Load(path string) (Settings, error) {
	s := Default()
	return s, s.LoadFile(path)
}

// LoadFile overlays s with the settings named in the YAML file at path. On an
// error s is unchanged.
func (s *Settings) LoadFile(path string) error { return loadFile(s, path) }

// Parse overlays s with the settings named in YAML text; name stands for the
// text in errors, which give line and column. On an error s is unchanged.
func (s *Settings) Parse(name string, text []byte) error { return parse(s, name, text) }

func loadFile[T any](s *T, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading settings: %w", err)
	}
	return parse(s, path, data)
}

func parse[T any](s *T, name string, text []byte) (err error) {
	// The parser is not ours, and a damaged file must never end in a panic.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: not valid YAML: %v", name, r)
		}
	}()
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			p := syntax.GetToken().Position
			return fmt.Errorf("%s:%d:%d: not valid YAML: %s", name, p.Line, p.Column, syntax.GetMessage())
		}
		return fmt.Errorf("%s: not valid YAML: %w", name, err)
	}
	next := clone(s)
	seen := false
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if seen {
			return fmt.Errorf("%s: expected one YAML document, found a second", at(name, doc.Body))
		}
		seen = true
		if err := assignGroup(name, "", doc.Body, fields(&next)); err != nil {
			return err
		}
	}
	*s = next
	return nil
}

// assignGroup sets the settings named in a YAML mapping; prefix is the group's
// key with its dot.
func assignGroup(name, prefix string, node ast.Node, all []field) error {
	if _, empty := node.(*ast.NullNode); empty {
		return nil
	}
	mapping, ok := node.(*ast.MappingNode)
	if !ok {
		what := "settings grouped as in \"inner: {rank: 32}\""
		if prefix != "" {
			what = "settings of the group " + strings.TrimSuffix(prefix, ".")
		}
		return fmt.Errorf("%s: got %s, expected %s", at(name, node), describe(node), what)
	}
	for _, entry := range mapping.Values {
		word, ok := entry.Key.(*ast.StringNode)
		if !ok {
			return fmt.Errorf("%s: expected the name of a setting, got %s", at(name, entry.Key), entry.Key.String())
		}
		key := prefix + word.Value
		var err error
		if f, ok := find(all, key); ok {
			err = f.setNode(entry.Value)
		} else if isGroup(all, key) {
			if err := assignGroup(name, key+".", entry.Value, all); err != nil {
				return err
			}
		} else {
			err = unknown(all, key)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", at(name, word), err)
		}
	}
	return nil
}

// setNode reads a YAML value.
func (f field) setNode(node ast.Node) error {
	kind := f.value.Kind()
	switch n := node.(type) {
	case *ast.SequenceNode:
		if kind != reflect.Slice {
			break
		}
		list := []string{}
		for _, item := range n.Values {
			s, ok := item.(*ast.StringNode)
			if !ok {
				return f.wrong(describe(item))
			}
			list = append(list, s.Value)
		}
		f.value.Set(reflect.ValueOf(list))
		return f.check()
	case *ast.StringNode: // 1e-3 is one, too
		if kind != reflect.Slice {
			return f.setText(n.Value)
		}
	case *ast.LiteralNode:
		if kind == reflect.String {
			return f.setText(n.Value.Value)
		}
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.NanNode, *ast.InfinityNode:
		if kind == reflect.String {
			return fmt.Errorf("%w; quote it if it is meant as text", f.wrong(describe(node)))
		}
		if kind != reflect.Slice {
			return f.setText(node.GetToken().Value)
		}
	}
	return f.wrong(describe(node))
}

// Set reads one "key=value", as given on a command line. Lists are written with
// commas: inner.targets=q_proj,v_proj.
func (s *Settings) Set(assignment string) error { return set(s, assignment) }

func set[T any](s *T, assignment string) error {
	key, value, ok := strings.Cut(assignment, "=")
	key = strings.TrimSpace(key)
	if !ok {
		return fmt.Errorf("--set %s: expected key=value", assignment)
	}
	next := clone(s)
	all := fields(&next)
	f, ok := find(all, key)
	if !ok {
		if isGroup(all, key) {
			return fmt.Errorf("--set %s: %s is a group of settings, expected one of them, as in %s", assignment, key, firstOf(all, key))
		}
		return fmt.Errorf("--set %s: %w", assignment, unknown(all, key))
	}
	if err := f.setText(value); err != nil {
		return fmt.Errorf("--set %s: %w", assignment, err)
	}
	*s = next
	return nil
}

// Validate checks every setting against what it allows, and those that depend on
// each other. Parse and Set check single values; call Validate once all are in.
func (s Settings) Validate() error {
	var errs []error
	for _, f := range fields(&s) {
		errs = append(errs, f.check())
	}
	if s.Outer.Keep > s.Edits.PerArticle {
		errs = append(errs, fmt.Errorf("outer.keep: got %d, expected at most edits.per_article, which is %d", s.Outer.Keep, s.Edits.PerArticle))
	}
	if s.Edits.Kind == "none" && s.Outer.Rounds > 0 {
		errs = append(errs, fmt.Errorf("outer.rounds: got %d, expected 0 with edits.kind none: without self-edits there is nothing to reinforce", s.Outer.Rounds))
	}
	if s.Edits.Kind == "none" && s.Edits.File != "" {
		errs = append(errs, fmt.Errorf("edits.file: got %s, expected none with edits.kind none", quote(s.Edits.File)))
	}
	if slices.Contains(s.Outer.Compare, s.Outer.Reward) {
		errs = append(errs, fmt.Errorf("outer.compare: got %s, which is outer.reward already", s.Outer.Reward))
	}
	asks := s.Eval.Grader == "endpoint" || s.Outer.Rounds > 0 && (s.Outer.Reward == "rubric" || slices.Contains(s.Outer.Compare, "rubric"))
	if asks && (s.Judge.URL == "" || s.Judge.Model == "") {
		errs = append(errs, fmt.Errorf("judge.url and judge.model: got %q and %q, expected both where a judge is asked (eval.grader=endpoint, or rubric among the rewards)", s.Judge.URL, s.Judge.Model))
	}
	if s.Eval.Grader == "command" && strings.TrimSpace(s.Judge.Command) == "" {
		errs = append(errs, fmt.Errorf("judge.command: got nothing, expected a command with eval.grader=command"))
	}
	if slices.Contains(s.Continual.Keep, "routed") && len(s.Continual.Keep) > 1 {
		errs = append(errs, fmt.Errorf("continual.keep: got routed with others, expected it alone: its adapters never meet"))
	}
	return errors.Join(errs...)
}

func at(name string, node ast.Node) string {
	p := node.GetToken().Position
	return fmt.Sprintf("%s:%d:%d", name, p.Line, p.Column)
}

// describe names a YAML value in an error.
func describe(node ast.Node) string {
	switch n := node.(type) {
	case *ast.NullNode:
		return "nothing"
	case *ast.MappingNode:
		return "a group"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		return "an anchor, alias or tag"
	case *ast.StringNode:
		return fmt.Sprintf("%q", n.Value)
	case *ast.LiteralNode:
		return "a block of text"
	}
	return node.GetToken().Value
}
