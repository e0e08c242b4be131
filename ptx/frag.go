package ptx

import "fmt"

func vec[R AnyOperand](r []R) Vec {
	v := make(Vec, len(r))
	for i := range r {
		v[i] = r[i].op()
	}
	return v
}

func (k *Builder) ldmatrix(op string, n int, a SharedPtr) []RegB32 {
	k.address1("ldmatrix", a)
	d := make([]RegB32, n)
	for i := range d {
		d[i] = New[RegB32](k)
	}
	k.emit(op, vec(d), a.mem())
	return d
}

// LdmatrixX1 loads an 8x8 matrix of 16-bit elements: lanes 0 to 7 give the addresses of
// its rows, 16 bytes each; a lane gets elements 2t, 2t+1 of row g (t = lane%4, g =
// lane/4). (PTX ISA, "ldmatrix"; sm_75)
func (k *Builder) LdmatrixX1(a SharedPtr) [1]RegB32 {
	return [1]RegB32(k.ldmatrix("ldmatrix.sync.aligned.m8n8.x1.shared.b16", 1, a))
}

// LdmatrixX2 loads two matrices; lanes 8 to 15 give the rows of the second.
func (k *Builder) LdmatrixX2(a SharedPtr) [2]RegB32 {
	return [2]RegB32(k.ldmatrix("ldmatrix.sync.aligned.m8n8.x2.shared.b16", 2, a))
}

// LdmatrixX4 loads four matrices; lanes 8q to 8q+7 give the rows of matrix q.
func (k *Builder) LdmatrixX4(a SharedPtr) [4]RegB32 {
	return [4]RegB32(k.ldmatrix("ldmatrix.sync.aligned.m8n8.x4.shared.b16", 4, a))
}

// LdmatrixX1Trans loads the transpose: a lane gets rows 2t, 2t+1 of column g.
func (k *Builder) LdmatrixX1Trans(a SharedPtr) [1]RegB32 {
	return [1]RegB32(k.ldmatrix("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16", 1, a))
}

// LdmatrixX2Trans loads two transposed matrices.
func (k *Builder) LdmatrixX2Trans(a SharedPtr) [2]RegB32 {
	return [2]RegB32(k.ldmatrix("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16", 2, a))
}

// LdmatrixX4Trans loads four transposed matrices.
func (k *Builder) LdmatrixX4Trans(a SharedPtr) [4]RegB32 {
	return [4]RegB32(k.ldmatrix("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", 4, a))
}

func (k *Builder) stmatrix(op string, a SharedPtr, v []RegB32) {
	k.address1("stmatrix", a)
	k.emit(op, a.mem(), vec(v))
}

// StmatrixX1 stores an 8x8 matrix, the inverse of LdmatrixX1. (PTX ISA, "stmatrix"; sm_90)
func (k *Builder) StmatrixX1(a SharedPtr, v [1]RegB32) {
	k.stmatrix("stmatrix.sync.aligned.m8n8.x1.shared.b16", a, v[:])
}

// StmatrixX2 stores two matrices.
func (k *Builder) StmatrixX2(a SharedPtr, v [2]RegB32) {
	k.stmatrix("stmatrix.sync.aligned.m8n8.x2.shared.b16", a, v[:])
}

// StmatrixX4 stores four matrices.
func (k *Builder) StmatrixX4(a SharedPtr, v [4]RegB32) {
	k.stmatrix("stmatrix.sync.aligned.m8n8.x4.shared.b16", a, v[:])
}

// StmatrixX4Trans stores four matrices transposed.
func (k *Builder) StmatrixX4Trans(a SharedPtr, v [4]RegB32) {
	k.stmatrix("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16", a, v[:])
}

// Movmatrix transposes an 8x8 matrix held by a warp. (PTX ISA, "movmatrix"; sm_75)
func (k *Builder) Movmatrix(x RegB32) RegB32 {
	d := New[RegB32](k)
	k.put("movmatrix.sync.aligned.m8n8.trans.b16", B32, d, x)
	return d
}

// WgmmaType is the type of the operands of a wgmma with f32 sums.
type WgmmaType struct {
	name string
	k    int // columns of A per instruction
	size int
	can  bool // transposed operands
}

var (
	WgmmaBF16 = WgmmaType{"bf16", 16, 2, true}
	WgmmaF16  = WgmmaType{"f16", 16, 2, true}
	WgmmaTF32 = WgmmaType{"tf32", 8, 4, false}
	WgmmaE4M3 = WgmmaType{"e4m3", 32, 1, false}
	WgmmaE5M2 = WgmmaType{"e5m2", 32, 1, false}
)

// WgmmaOp is a warpgroup's d = a*b + d of shape m64nNkK: K is 32 bytes of operands,
// both in shared memory behind descriptors. (PTX ISA, "wgmma.mma_async"; sm_90a)
type WgmmaOp struct {
	N              int // 8 to 256, a multiple of 8
	Type           WgmmaType
	TransA, TransB bool // the operand is stored along M, or N; 16-bit types only
	NegA, NegB     bool
}

// K is the depth of one instruction.
func (w WgmmaOp) K() int { return w.Type.k }

func (w WgmmaOp) tail(k *Builder, transA bool) []Operand {
	if w.N < 8 || w.N > 256 || w.N%8 != 0 {
		k.fail("wgmma", "N = %d, expected a multiple of 8 up to 256", w.N)
	}
	if (w.TransA || w.TransB) && !w.Type.can {
		k.fail("wgmma", "%s has no transposed operands", w.Type.name)
	}
	bit := func(b bool, yes, no int64) Operand {
		if b {
			return I(yes).op()
		}
		return I(no).op()
	}
	ops := []Operand{bit(w.NegA, -1, 1), bit(w.NegB, -1, 1)}
	if w.Type.can {
		if transA {
			ops = append(ops, bit(w.TransA, 1, 0))
		}
		ops = append(ops, bit(w.TransB, 1, 0))
	}
	return ops
}

func (w WgmmaOp) name() string {
	return fmt.Sprintf("wgmma.mma_async.sync.aligned.m64n%dk%d.f32.%s.%s", w.N, w.Type.k, w.Type.name, w.Type.name)
}

func (w WgmmaOp) sums(k *Builder, d []RegF32) Vec {
	if len(d) != w.N/2 {
		k.fail("wgmma", "%d registers for d of 64x%d, expected %d", len(d), w.N, w.N/2)
	}
	return vec(d)
}

// Wgmma starts the product of two tiles in shared memory. Where scale is false, d is
// overwritten instead of added to. Register i of d holds row 16w + lane/4 + 8*(i/2%2) of
// the 64, w the warp of the four, and column 8*(i/4) + 2*(lane%4) + i%2.
func (k *Builder) Wgmma(w WgmmaOp, d []RegF32, a, b RegB64, scale RegPred) {
	ops := append([]Operand{w.sums(k, d), a.op(), b.op(), k.scaleD(scale)}, w.tail(k, true)...)
	k.emit(w.name(), ops...)
}

// WgmmaA is Wgmma with A in registers.
func (k *Builder) WgmmaA(w WgmmaOp, d []RegF32, a [4]RegB32, b RegB64, scale RegPred) {
	if w.TransA {
		k.fail("wgmma", "TransA is for operands in shared memory")
	}
	ops := append([]Operand{w.sums(k, d), vec(a[:]), b.op(), k.scaleD(scale)}, w.tail(k, false)...)
	k.emit(w.name(), ops...)
}

func (k *Builder) scaleD(p RegPred) Operand {
	if p.not {
		k.fail("wgmma", "scale is a negated predicate; the instruction has no room for it")
	}
	return p.op()
}

// WgmmaFence orders the warpgroup's earlier accesses to registers (and generic writes
// to shared memory, after FenceProxyAsync) before the wgmma that follow. Needed before
// the first, and whenever registers of d or a were touched since.
func (k *Builder) WgmmaFence() { k.emit("wgmma.fence.sync.aligned") }

// WgmmaCommitGroup makes a group of the wgmma started since the last.
func (k *Builder) WgmmaCommitGroup() { k.emit("wgmma.commit_group.sync.aligned") }

// WgmmaWaitGroup waits until at most n groups are pending. Before, nobody may touch the
// registers of a pending group.
func (k *Builder) WgmmaWaitGroup(n int) { k.put("wgmma.wait_group.sync.aligned", U32, I(n)) }

// SetMaxNRegInc raises the registers per thread of the warpgroup, waiting until they
// are free; SetMaxNRegDec gives some back. The kernel needs MaxRegisters, or MaxThreads
// with MinBlocks. (PTX ISA, "setmaxnreg"; sm_90a)
func (k *Builder) SetMaxNRegInc(n int) { k.setMaxNReg("inc", n) }

// SetMaxNRegDec lowers the registers per thread of the warpgroup.
func (k *Builder) SetMaxNRegDec(n int) { k.setMaxNReg("dec", n) }

func (k *Builder) setMaxNReg(how string, n int) {
	if n < 24 || n > 256 || n%8 != 0 {
		k.fail("setmaxnreg", "%d registers, expected a multiple of 8 from 24 to 256", n)
	}
	k.put("setmaxnreg."+how+".sync.aligned.u32", U32, I(n))
}
