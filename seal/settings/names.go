package settings

import (
	"fmt"
	"strings"
)

func find(all []field, key string) (field, bool) {
	for _, f := range all {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

func isGroup(all []field, key string) bool { return firstOf(all, key) != "" }

func firstOf(all []field, group string) string {
	for _, f := range all {
		if strings.HasPrefix(f.key, group+".") {
			return f.key
		}
	}
	return ""
}

// unknown is the error for a key that names no setting, with the nearest names.
func unknown(all []field, key string) error {
	if near := nearest(all, key); len(near) > 0 {
		return fmt.Errorf("unknown setting %q: did you mean %s?", key, strings.Join(near, " or "))
	}
	return fmt.Errorf("unknown setting %q: expected one of those that help lists", key)
}

// nearest returns the keys within the smallest edit distance of key, if that is
// small for its length. A key without its group is compared with last names, so
// that "rank" finds inner.rank and outer.rank.
func nearest(all []field, key string) []string {
	best := max(1, len(key)/3) + 1
	var keys []string
	for _, f := range all {
		name := f.key
		if !strings.Contains(key, ".") {
			name = name[strings.LastIndexByte(name, '.')+1:]
		}
		d := editDistance(strings.ReplaceAll(key, "-", "_"), name)
		if _, leaf, _ := strings.Cut(key, "."); d > 0 && leaf != "" && leaf == f.key[strings.LastIndexByte(f.key, '.')+1:] {
			d = 1 // right name, wrong group
		}
		if d < best {
			best, keys = d, nil
		}
		if d == best && best <= max(1, len(key)/3) {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// editDistance is Levenshtein's, in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
