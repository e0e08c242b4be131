package report

import (
	"bytes"
	"strings"
	"testing"
)

func tables() Data {
	return Data{
		Title:  "tables",
		Tables: []Table{{ID: "a", Title: "A <table>", Note: "note", Head: []string{"way", "kept"}, Rows: [][]string{{"none", "19.0\n[1, 2]"}}}},
		Heats:  []Heat{{ID: "b", Title: "B", Corner: "c", Columns: []string{"1", "2"}, Rows: []string{"0", "1"}, Cells: [][]Cell{{{0, 0}, {1, 0.5}}, {{0.5, 0.25}}}}},
	}
}

func TestTables(t *testing.T) {
	page := htmlOf(t, tables())
	balanced(t, page)
	for _, want := range []string{"A &lt;table&gt;", "19.0<small>[1, 2]</small>", "100.0<small>±50.0</small>", "var(--series1) 35%", "<td></td>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "ZgotmplZ") {
		t.Error("the page has ZgotmplZ")
	}
	var b bytes.Buffer
	if err := Text(&b, tables()); err != nil {
		t.Fatal(err)
	}
	if want := "A <table>\nway          kept\nnone  19.0 [1, 2]\n\nB\nc           1            2\n0    0.0 ±0.0  100.0 ±50.0\n1  50.0 ±25.0\n"; b.String() != want {
		t.Errorf("text\n%s", b.String())
	}
	b.Reset()
	if err := TablesJSON(&b, tables()); err != nil || !strings.HasPrefix(b.String(), `{"tables":[{"id":"a"`) {
		t.Errorf("%s, %v", b.String(), err)
	}
	for want, change := range map[string]func(*Data){
		"a row of 1 cells under 2 heads": func(d *Data) { d.Tables[0].Rows[0] = []string{"x"} },
		"1 rows of cells for 2 names":    func(d *Data) { d.Heats[0].Cells = d.Heats[0].Cells[:1] },
		"row 0 has 3 cells":              func(d *Data) { d.Heats[0].Cells[0] = make([]Cell, 3) },
		"got 2 ± 0, expected 0 to 1":     func(d *Data) { d.Heats[0].Cells[0][0].Mean = 2 },
	} {
		d := tables()
		change(&d)
		if err := Text(&b, d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
