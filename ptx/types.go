package ptx

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
	numTypes
)

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
