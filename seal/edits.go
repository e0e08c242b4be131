package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ReadEdits reads self-edits made elsewhere and matches them to articles. The
// file holds one object per line, or a JSON array of them:
//
//	{"title": "Oxygen", "context": "…", "completions": ["1. …", "1. …"]}
//	{"id": "000007-1a2b3c4d", "completions": ["…"]}
//
// An entry names its article by id (see ItemID), or by title, with the context
// too where several articles share a title. Blank completions are left out, as
// the loop leaves out its own; other fields are ignored. The result maps article
// ids to completions in the file's order; articles without an entry are absent.
// Identical articles (same title and context) all get the entry's completions.
func ReadEdits(path string, articles []Article) (map[string][]string, error) {
	data, err := readText(path)
	if err != nil {
		return nil, err
	}
	entries, err := splitEntries(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	edits, seen := map[string][]string{}, map[string]string{}
	for _, e := range entries {
		ids, completions, err := parseEdits(e.data, articles)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, e.place, err)
		}
		for _, id := range ids {
			if first, ok := seen[id]; ok {
				return nil, fmt.Errorf("%s: %s: article %s has edits already, from %s; put all completions into one entry", path, e.place, id, first)
			}
			seen[id], edits[id] = e.place, completions
		}
	}
	if len(edits) == 0 {
		return nil, fmt.Errorf("%s: holds no self-edits", path)
	}
	return edits, nil
}

// entry is one JSON value of a file and where it stands.
type entry struct {
	place string
	data  []byte
}

func splitEntries(data []byte) ([]entry, error) {
	var entries []entry
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		var items []json.RawMessage
		if err := decodeJSON(data, &items); err != nil {
			return nil, err
		}
		for i, item := range items {
			entries = append(entries, entry{fmt.Sprintf("entry %d", i), item})
		}
		return entries, nil
	}
	for i, line := range bytes.Split(data, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		place := fmt.Sprintf("line %d", i+1)
		if !json.Valid(line) {
			return nil, fmt.Errorf("%s: not a complete JSON object; expected one object per line, or one array", place)
		}
		entries = append(entries, entry{place, line})
	}
	return entries, nil
}

// parseEdits returns the ids of the articles that an entry is for.
func parseEdits(data []byte, articles []Article) (ids, completions []string, err error) {
	var e struct {
		ID, Title, Context string
		Completions        []string
	}
	if err := decodeJSON(data, &e); err != nil {
		return nil, nil, err
	}
	completions = FirstNonBlank(e.Completions, len(e.Completions))
	if len(completions) == 0 {
		return nil, nil, errors.New("field completions is missing, or every completion is empty")
	}
	if e.ID == "" && e.Title == "" {
		return nil, nil, errors.New("expected a field id or title to tell which article the edits are for")
	}
	contexts := map[string]bool{}
	for _, a := range articles {
		if (e.ID == "" || e.ID == a.ID) && (e.Title == "" || e.Title == a.Title) &&
			(e.Context == "" || strings.TrimSpace(e.Context) == strings.TrimSpace(a.Context)) {
			ids = append(ids, a.ID)
			contexts[a.Context] = true
		}
	}
	switch {
	case len(ids) == 0:
		return nil, nil, fmt.Errorf("no article matches %s; ids, titles and contexts must be those of the data file",
			describeEntry(e.ID, e.Title, e.Context))
	case len(contexts) > 1:
		return nil, nil, fmt.Errorf("%d articles have the title %q; give the context or the id too", len(ids), e.Title)
	}
	return ids, completions, nil
}

func describeEntry(id, title, context string) string {
	var parts []string
	if id != "" {
		parts = append(parts, fmt.Sprintf("id %q", id))
	}
	if title != "" {
		parts = append(parts, fmt.Sprintf("title %q", title))
	}
	if context != "" {
		parts = append(parts, "the given context")
	}
	return strings.Join(parts, " and ")
}

// FirstNonBlank returns the first n texts that are not blank, unchanged; fewer
// where there are fewer.
func FirstNonBlank(texts []string, n int) []string {
	var kept []string
	for _, t := range texts {
		if len(kept) == n {
			break
		}
		if strings.TrimSpace(t) != "" {
			kept = append(kept, t)
		}
	}
	return kept
}
