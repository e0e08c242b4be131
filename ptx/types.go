package ptx

import "fmt"

// Type is a fundamental type (PTX ISA, "Fundamental Types") or one of the alternate
// and packed formats that instructions name.
type Type uint8

const (
	NoType Type = iota
	Pred
	B1
	B8
	B16
	B32
	B64
	B128
	U4
	U8
	U16
	U32
	U64
	S4
	S8
	S16
	S32
	S64
	F16
	F16x2
	BF16
	BF16x2
	TF32
	F32
	F32x2
	F64
	E4M3
	E5M2
	E4M3x2
	E5M2x2
	U16x2
	S16x2
	B8x16
	TexRef
	SamplerRef
	SurfRef
	E2M1
	E2M3
	E3M2
	UE8M0
	E2M1x2
	E2M3x2
	E3M2x2
	UE8M0x2
	numTypes
)

// Kind groups types by how their bits are read.
type Kind uint8

const (
	KindNone Kind = iota
	KindPred
	KindBits
	KindUnsigned
	KindSigned
	KindFloat
	KindOpaque // texref, samplerref, surfref
)

var typeInfo = [numTypes]struct {
	name string
	bits int
	kind Kind
}{
	NoType: {"", 0, KindNone},
	Pred:   {"pred", 1, KindPred},
	B1:     {"b1", 1, KindBits},
	B8:     {"b8", 8, KindBits},
	B16:    {"b16", 16, KindBits},
	B32:    {"b32", 32, KindBits},
	B64:    {"b64", 64, KindBits},
	B128:   {"b128", 128, KindBits},
	U4:     {"u4", 4, KindUnsigned},
	U8:     {"u8", 8, KindUnsigned},
	U16:    {"u16", 16, KindUnsigned},
	U32:    {"u32", 32, KindUnsigned},
	U64:    {"u64", 64, KindUnsigned},
	S4:     {"s4", 4, KindSigned},
	S8:     {"s8", 8, KindSigned},
	S16:    {"s16", 16, KindSigned},
	S32:    {"s32", 32, KindSigned},
	S64:    {"s64", 64, KindSigned},
	F16:    {"f16", 16, KindFloat},
	F16x2:  {"f16x2", 32, KindFloat},
	BF16:   {"bf16", 16, KindFloat},
	BF16x2: {"bf16x2", 32, KindFloat},
	TF32:   {"tf32", 32, KindFloat},
	F32:    {"f32", 32, KindFloat},
	F32x2:  {"f32x2", 64, KindFloat},
	F64:    {"f64", 64, KindFloat},
	E4M3:   {"e4m3", 8, KindFloat},
	E5M2:   {"e5m2", 8, KindFloat},
	E4M3x2: {"e4m3x2", 16, KindFloat},
	E5M2x2: {"e5m2x2", 16, KindFloat},
	U16x2:  {"u16x2", 32, KindUnsigned},
	S16x2:  {"s16x2", 32, KindSigned},
	B8x16:  {"b8x16", 128, KindBits},

	TexRef:     {"texref", 64, KindOpaque},
	SamplerRef: {"samplerref", 64, KindOpaque},
	SurfRef:    {"surfref", 64, KindOpaque},

	E2M1:    {"e2m1", 4, KindFloat},
	E2M3:    {"e2m3", 6, KindFloat},
	E3M2:    {"e3m2", 6, KindFloat},
	UE8M0:   {"ue8m0", 8, KindFloat},
	E2M1x2:  {"e2m1x2", 8, KindFloat},
	E2M3x2:  {"e2m3x2", 16, KindFloat},
	E3M2x2:  {"e3m2x2", 16, KindFloat},
	UE8M0x2: {"ue8m0x2", 16, KindFloat},
}

var typeByName = func() map[string]Type {
	m := make(map[string]Type, numTypes)
	for t := Pred; t < numTypes; t++ {
		m[typeInfo[t].name] = t
	}
	return m
}()

// TypeByName gives the type that a modifier names, without its dot: "f32".
func TypeByName(name string) (Type, bool) {
	t, ok := typeByName[name]
	return t, ok
}

// String is the name in PTX without its dot: "f32".
func (t Type) String() string {
	if t < numTypes {
		return typeInfo[t].name
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

// Bits is the width of a value; packed types count all their elements.
func (t Type) Bits() int { return typeInfo[t].bits }

// Size is the bytes a value takes in memory; a predicate takes none.
func (t Type) Size() int {
	if t == Pred {
		return 0
	}
	return (typeInfo[t].bits + 7) / 8
}

// Kind says how the bits of a value are read.
func (t Type) Kind() Kind { return typeInfo[t].kind }

// Space is a state space (PTX ISA, "State Spaces").
type Space uint8

const (
	NoSpace Space = iota // generic addressing, or none
	RegSpace
	SregSpace
	Const
	Global
	Local
	Param         // .param: of the entry in kernels, of the call elsewhere
	ParamEntry    // .param::entry
	ParamFunc     // .param::func
	Shared        // .shared, which is .shared::cta but for a few instructions
	SharedCTA     // .shared::cta
	SharedCluster // .shared::cluster
	numSpaces
)

var spaceNames = [numSpaces]string{
	RegSpace: "reg", SregSpace: "sreg", Const: "const", Global: "global", Local: "local",
	Param: "param", ParamEntry: "param::entry", ParamFunc: "param::func",
	Shared: "shared", SharedCTA: "shared::cta", SharedCluster: "shared::cluster",
}

// SpaceByName gives the state space that a modifier names, without its dot.
func SpaceByName(name string) (Space, bool) {
	for s, n := range spaceNames {
		if n == name && n != "" {
			return Space(s), true
		}
	}
	return NoSpace, false
}

// String is the name in PTX without its dot; empty for NoSpace.
func (s Space) String() string {
	if s < numSpaces {
		return spaceNames[s]
	}
	return fmt.Sprintf("Space(%d)", uint8(s))
}

var linkageNames = [...]string{Visible: ".visible", Extern: ".extern", Weak: ".weak", Common: ".common"}

// String is the directive, ".visible"; empty for Internal.
func (l Linkage) String() string { return linkageNames[l] }

// Less orders versions.
func (v Version) Less(o Version) bool {
	return v.Major < o.Major || v.Major == o.Major && v.Minor < o.Minor
}

// String is "8.0".
func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// String is "sm_90a".
func (t Target) String() string {
	s := fmt.Sprintf("sm_%d", t.SM)
	if t.Class != 0 {
		s += string(t.Class)
	}
	return s
}

// ParseTarget reads "sm_90a".
func ParseTarget(s string) (Target, error) {
	bad := fmt.Errorf("ptx: target %q: expected sm_ and a compute capability, with a or f for a target of one capability or family: sm_80, sm_90a, sm_100f", s)
	if len(s) < 5 || s[:3] != "sm_" {
		return Target{}, bad
	}
	digits := s[3:]
	var t Target
	if c := digits[len(digits)-1]; c == 'a' || c == 'f' {
		t.Class, digits = c, digits[:len(digits)-1]
	}
	if len(digits) < 2 || len(digits) > 3 || digits[0] == '0' {
		return Target{}, bad
	}
	for i := range len(digits) {
		if class[digits[i]]&isDigit == 0 {
			return Target{}, bad
		}
		t.SM = t.SM*10 + int(digits[i]-'0')
	}
	return t, nil
}
