package tokenizer

import (
	"strings"
	"unicode"
)

// Hugging Face's tokenizers 0.23 takes \p{…} from Unicode 16, lower case from
// Unicode 17 and normal forms from Unicode 9; Go 1.26 has Unicode 15. The tables
// of this file are the differences, found by comparing every code point.

// additions are the characters that Unicode 16 has in a category and Unicode 15 not.
var additions = func() map[string][][2]rune {
	t := map[string][][2]rune{
		"Lu": {{0x1C89, 0x1C89}, {0xA7CB, 0xA7CC}, {0xA7DA, 0xA7DA}, {0xA7DC, 0xA7DC}, {0x10D50, 0x10D65}},
		"Ll": {{0x1C8A, 0x1C8A}, {0xA7CD, 0xA7CD}, {0xA7DB, 0xA7DB}, {0x10D70, 0x10D85}},
		"Lm": {{0x10D4E, 0x10D4E}, {0x10D6F, 0x10D6F}, {0x16D40, 0x16D42}, {0x16D6B, 0x16D6C}},
		"Lo": {{0x105C0, 0x105F3}, {0x10D4A, 0x10D4D}, {0x10D4F, 0x10D4F}, {0x10EC2, 0x10EC4}, {0x11380, 0x11389},
			{0x1138B, 0x1138B}, {0x1138E, 0x1138E}, {0x11390, 0x113B5}, {0x113B7, 0x113B7}, {0x113D1, 0x113D1},
			{0x113D3, 0x113D3}, {0x11BC0, 0x11BE0}, {0x13460, 0x143FA}, {0x16100, 0x1611D}, {0x16D43, 0x16D6A},
			{0x18CFF, 0x18CFF}, {0x1E5D0, 0x1E5ED}, {0x1E5F0, 0x1E5F0}, {0x2EBF0, 0x2EE5D}},
		"Nd": {{0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9}, {0x16130, 0x16139}, {0x16D70, 0x16D79},
			{0x1CCF0, 0x1CCF9}, {0x1E5F1, 0x1E5FA}},
		"M": {{0x0897, 0x0897}, {0x10D69, 0x10D6D}, {0x10EFC, 0x10EFC}, {0x113B8, 0x113C0}, {0x113C2, 0x113C2},
			{0x113C5, 0x113C5}, {0x113C7, 0x113CA}, {0x113CC, 0x113D0}, {0x113D2, 0x113D2}, {0x113E1, 0x113E2},
			{0x11F5A, 0x11F5A}, {0x1611E, 0x1612F}, {0x1E5EE, 0x1E5EF}},
		"P": {{0x1B4E, 0x1B4F}, {0x1B7F, 0x1B7F}, {0x10D6E, 0x10D6E}, {0x113D4, 0x113D5}, {0x113D7, 0x113D8},
			{0x11BE1, 0x11BE1}, {0x16D6D, 0x16D6F}, {0x1E5FF, 0x1E5FF}},
	}
	for _, name := range []string{"Lu", "Ll", "Lm", "Lo"} {
		t["L"] = append(t["L"], t[name]...)
	}
	t["N"] = t["Nd"]
	return t
}()

// numerics17 are the numbers that Unicode 17 adds; only Digits asks for them.
var numerics17 = [][2]rune{{0x11DE0, 0x11DE9}, {0x16FF4, 0x16FF6}}

// lower17 are lower-case mappings after Unicode 15: from, to, distance.
var lower17 = [][3]rune{
	{0x1C89, 0x1C89, 1}, {0xA7CB, 0xA7CB, -42343}, {0xA7CC, 0xA7CC, 1}, {0xA7CE, 0xA7CE, 1}, {0xA7D2, 0xA7D2, 1},
	{0xA7D4, 0xA7D4, 1}, {0xA7DA, 0xA7DA, 1}, {0xA7DC, 0xA7DC, -42561}, {0x10D50, 0x10D65, 32}, {0x16EA0, 0x16EB8, 27},
}

// unnormalised are characters that HF's normaliser, of Unicode 9, does not
// know: it neither decomposes them nor knows that they combine.
var unnormalised = [][2]rune{
	{0x07FD, 0x07FD}, {0x0898, 0x089F}, {0x08CA, 0x08D3}, {0x09FE, 0x09FE}, {0x0C3C, 0x0C3C}, {0x0D3B, 0x0D3C},
	{0x0EBA, 0x0EBA}, {0x1715, 0x1715}, {0x1ABF, 0x1ACE}, {0x1DF6, 0x1DFA}, {0x32FF, 0x32FF}, {0xA7F2, 0xA7F4},
	{0xA82C, 0xA82C}, {0xAB69, 0xAB69}, {0x10781, 0x10785}, {0x10787, 0x107B0}, {0x107B2, 0x107BA}, {0x10D24, 0x10D27},
	{0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B},
	{0x1145E, 0x1145E}, {0x11839, 0x1183A}, {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0},
	{0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97},
	{0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E030, 0x1E06D}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
	{0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}, {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9},
}

func inRanges(ranges [][2]rune, c rune) bool {
	for _, r := range ranges {
		if c >= r[0] && c <= r[1] {
			return true
		}
	}
	return false
}

// isNumeric is Rust's char::is_numeric.
func isNumeric(c rune) bool {
	return unicode.IsNumber(c) || c >= 0x10000 && (inRanges(additions["N"], c) || inRanges(numerics17, c))
}

func isSpace(c rune) bool { return unicode.Is(unicode.White_Space, c) }

// isWord is \w: letters, marks, decimal digits, connectors and joiners.
func isWord(c rune) bool {
	return unicode.In(c, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic) ||
		c == '\u200C' || c == '\u200D' ||
		inRanges(additions["L"], c) || inRanges(additions["M"], c) || inRanges(additions["Nd"], c)
}

// lowerRune is Rust's char::to_lowercase: one character but for İ.
func lowerRune(c rune) string {
	if c == 'İ' {
		return "i\u0307"
	}
	for _, r := range lower17 {
		if c >= r[0] && c <= r[1] {
			return string(c + r[2])
		}
	}
	return strings.ToLower(string(c))
}

// withAdditions writes \p{name} of an expression so that it means Unicode 16.
func withAdditions(name string, inClass bool) string {
	text := `\p{` + name + `}`
	for _, r := range additions[name] {
		text += string(r[0])
		if r[1] > r[0] {
			text += "-" + string(r[1])
		}
	}
	if inClass {
		return text
	}
	return "[" + text + "]"
}
