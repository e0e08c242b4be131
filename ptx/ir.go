package ptx

// A Module is one PTX compilation unit: what a .ptx file holds.
type Module struct {
	Version    Version // .version
	Target     Target  // .target
	TargetOpts []string
	AddrSize   int    // .address_size: 64, or 32
	Decls      []Decl // in the order of the text: *Var, *Func, *Directive
	File       string // name for messages, may be empty
}

// Version is a PTX ISA version: {8, 0} for .version 8.0.
type Version struct{ Major, Minor int }

// Target is a .target: {90, 'a'} for sm_90a, {80, 0} for sm_80.
type Target struct {
	SM    int
	Class byte // 0, 'a' (this compute capability only) or 'f' (its family)
}

// Decl is what stands at module scope.
type Decl interface{ decl() }

// Linkage says who sees a symbol.
type Linkage uint8

const (
	Internal Linkage = iota
	Visible          // .visible
	Extern           // .extern
	Weak             // .weak
	Common           // .common
)

// A Var is a variable in a state space other than .reg: at module scope, inside a
// function, or a .param of an entry, of a function or of a call sequence.
type Var struct {
	Name    string
	Linkage Linkage
	Space   Space
	Type    Type
	Vec     int   // elements of a vector type, .v2 or .v4; 0 for a scalar
	Align   int   // bytes; 0: natural
	Dims    []int // array dimensions; Unsized for [] in the first
	Init    []InitItem
	Ptr     *PtrAttr  // .param .u64 .ptr .global .align 16
	Attrs   []string  // .attribute(...), verbatim
	Opaque  string    // initialiser of a .samplerref or .texref, verbatim
	Reg     *Register // of a parameter in the .reg space
	Pos     Pos
}

// Unsized is the dimension of `name[]`, an array whose size comes from elsewhere.
const Unsized = -1

// PtrAttr is what a kernel parameter says of the memory that it points to.
type PtrAttr struct {
	Space Space
	Align int
}

// InitItem is one scalar of an initialiser. Nested braces are flattened with
// Index giving the flat element index it starts at.
type InitItem struct {
	Index   int
	Value   Operand // Imm or Sym
	Generic bool    // generic(sym)
	Mask    uint64  // 0xff(sym): the byte selected; 0 for none
}

// A Func is an .entry or a .func, or the declaration of one (Body nil).
type Func struct {
	Name       string
	Entry      bool
	Linkage    Linkage
	Returns    []*Var      // .param or .reg variables
	Params     []*Var      // .param or .reg variables
	Directives []Directive // .maxntid and the like, between the header and the body
	Attrs      []string    // .attribute(...), verbatim
	NoReturn   bool
	Body       *Block
	Regs       []*Register // those mentioned; the index is Register.ID
	Pos        Pos
}

// Directive is a performance or module directive with its arguments, as
// {"maxntid", {128, 1, 1}}; Text holds those that are not numbers.
type Directive struct {
	Name string
	Args []int64
	Text []string
	Pos  Pos
}

// Block is a scope in braces.
type Block struct {
	Stmts []Stmt
	End   Pos // of the closing brace
}

// Stmt is what stands in a function's body: *Instr, *Label, *RegDecl, *Var, *Block,
// *Directive (.pragma, .loc), *BranchTargets, *CallTargets, *CallPrototype.
type Stmt interface{ stmt() }

// A Label marks the next instruction of its scope.
type Label struct {
	Name string
	Pos  Pos
}

// RegDecl declares registers: `.reg .f32 %f<9>, x;`.
type RegDecl struct {
	Type  Type
	Vec   int
	Names []RegName
	Pos   Pos
}

// RegName is one declarator. Count > 0 declares Name0 … Name(Count-1).
type RegName struct {
	Name  string
	Count int
}

// Register is a virtual register. Registers are compared by pointer: names may
// repeat in other scopes.
type Register struct {
	Name string
	Type Type
	Vec  int
	ID   int // dense within its function, in the order of first mention
}

// BranchTargets is the labelled list a brx.idx chooses from.
type BranchTargets struct {
	Name   string
	Labels []string
	Pos    Pos
}

// CallTargets is the labelled list of functions an indirect call chooses from.
type CallTargets struct {
	Name  string
	Funcs []string
	Pos   Pos
}

// CallPrototype is the labelled prototype of an indirect call.
type CallPrototype struct {
	Name  string
	Proto *Func // without name and body
	Pos   Pos
}

// An Instr is one instruction: `@p mnemonic.mods args;`.
type Instr struct {
	Guard Guard
	Op    string   // mnemonic: "ld"
	Mods  []string // dotted parts in their written order, without the dots: "global", "v4", "f32"
	Args  []Operand
	Pos   Pos
	match *match // the row of the instruction table, once resolved
}

// Guard is the predicate of an instruction; no register, no guard.
type Guard struct {
	Reg *Register
	Not bool
}

// Pos says where a statement came from: a line of PTX text, a line of Go, or both.
type Pos struct {
	Line, Col int     // in PTX text, from 1; 0: not from text
	PC        uintptr // of the Go call that emitted it; 0: not from Go. See GoLine.
}

// Operand is an argument of an instruction: Reg, Imm, Special, Sym, Mem, Vec, Pair,
// Not, Neg, Sink, List.
type Operand interface{ operand() }

type (
	// Reg is a register, or an element of a vector register (Elem 'x' 'y' 'z' 'w'),
	// or bytes of a register, as video instructions select them (Sel "b0", "h1", "b7610").
	Reg struct {
		R    *Register
		Elem byte
		Sel  string
	}
	// Imm is a constant, kept with its kind so that it prints as it was written.
	Imm struct {
		Kind ImmKind
		Bits uint64 // two's complement of an integer; IEEE bits of F32 or F64
	}
	// Special is a special register, as {"tid", 'x'} or {"laneid", 0}.
	Special struct {
		Name string
		Elem byte
	}
	// Sym is a name: of a variable (its address), a function, a label, a list of
	// branch targets or a prototype; with an offset in bytes.
	Sym struct {
		Name   string
		Offset int64
	}
	// Mem is an address in brackets: a base and an offset in bytes, or for tensor
	// copies and textures a map and coordinates: [map, {c0, c1}].
	Mem struct {
		Base    Operand // Reg, Sym or Imm
		Offset  int64
		Sampler Operand   // of a texture: [tex, sampler, {x, y}]
		Coords  []Operand // nil but for tensor maps and textures
	}
	// Vec is a list in braces: {a, b, c, d}.
	Vec []Operand
	// Pair is a|b: a destination and a predicate.
	Pair struct{ A, B Operand }
	// Not is !p, a negated predicate operand.
	Not struct{ X Operand }
	// Neg is -c, the negated operand of a video instruction.
	Neg struct{ X Operand }
	// Sink is _: a result that nobody wants.
	Sink struct{}
	// List is a parenthesised list of a call: (ret) or (arg, arg).
	List []Operand
)

// ImmKind is how a constant was written, which decides how it converts.
type ImmKind uint8

const (
	ImmInt  ImmKind = iota // s64: decimal, hex, octal, binary, negative
	ImmUint                // with the suffix U
	ImmF32                 // 0f3F800000
	ImmF64                 // 0d3FF0000000000000, or a decimal floating-point literal
)

func (*Var) decl()       {}
func (*Func) decl()      {}
func (*Directive) decl() {}

func (*Instr) stmt()         {}
func (*Label) stmt()         {}
func (*RegDecl) stmt()       {}
func (*Var) stmt()           {}
func (*Block) stmt()         {}
func (*Directive) stmt()     {}
func (*BranchTargets) stmt() {}
func (*CallTargets) stmt()   {}
func (*CallPrototype) stmt() {}

func (Reg) operand()     {}
func (Imm) operand()     {}
func (Special) operand() {}
func (Sym) operand()     {}
func (Mem) operand()     {}
func (Vec) operand()     {}
func (Pair) operand()    {}
func (Not) operand()     {}
func (Neg) operand()     {}
func (Sink) operand()    {}
func (List) operand()    {}
