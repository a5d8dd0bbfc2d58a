/* Compiles HLSL with one of Microsoft's compilers, d3dcompiler_47.dll or dxcompiler.dll, as wgpu does:
 *     hlsl.exe COMPILER.dll < NAMES
 * Prints a line for each file: milliseconds, its name, and the compiler's message if it refuses the file, which makes the
 * exit code 1. */

#define COBJMACROS
#include <windows.h>
#include <d3dcommon.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The part of dxcapi.h that is needed. */
typedef struct { const void *text; SIZE_T size; UINT encoding; } DxcBuffer;
typedef struct DxcBlob { const struct DxcBlobTable *table; } DxcBlob;
struct DxcBlobTable {
    HRESULT (WINAPI *QueryInterface)(DxcBlob *, REFIID, void **);
    ULONG (WINAPI *AddRef)(DxcBlob *);
    ULONG (WINAPI *Release)(DxcBlob *);
    void *(WINAPI *GetBufferPointer)(DxcBlob *);
    SIZE_T (WINAPI *GetBufferSize)(DxcBlob *);
};
typedef struct DxcResult { const struct DxcResultTable *table; } DxcResult;
struct DxcResultTable {
    HRESULT (WINAPI *QueryInterface)(DxcResult *, REFIID, void **);
    ULONG (WINAPI *AddRef)(DxcResult *);
    ULONG (WINAPI *Release)(DxcResult *);
    HRESULT (WINAPI *GetStatus)(DxcResult *, HRESULT *);
    HRESULT (WINAPI *GetResult)(DxcResult *, DxcBlob **);
    HRESULT (WINAPI *GetErrorBuffer)(DxcResult *, DxcBlob **);
};
typedef struct DxcCompiler { const struct DxcCompilerTable *table; } DxcCompiler;
struct DxcCompilerTable {
    HRESULT (WINAPI *QueryInterface)(DxcCompiler *, REFIID, void **);
    ULONG (WINAPI *AddRef)(DxcCompiler *);
    ULONG (WINAPI *Release)(DxcCompiler *);
    HRESULT (WINAPI *Compile)(DxcCompiler *, const DxcBuffer *, LPCWSTR *, UINT32, void *, REFIID, void **);
};
static const GUID DXC_COMPILER = {0x73e22d93, 0xe6ce, 0x47f3, {0xb5, 0xbf, 0xf0, 0x66, 0x4f, 0x39, 0xc1, 0xb0}};
static const GUID DXC_COMPILER3 = {0x228b4687, 0x5a6a, 0x4730, {0x90, 0x0c, 0x97, 0x02, 0xb2, 0x20, 0x3f, 0x54}};
static const GUID DXC_RESULT = {0x58346cda, 0xdde7, 0x4497, {0x94, 0x61, 0x6f, 0x87, 0xaf, 0x5e, 0x06, 0x59}};

typedef HRESULT (WINAPI *Create)(REFIID, REFIID, void **);
typedef HRESULT (WINAPI *Compile)(LPCVOID, SIZE_T, LPCSTR, const void *, void *, LPCSTR, LPCSTR, UINT, UINT, ID3D10Blob **,
                                  ID3D10Blob **);

enum { ENABLE_STRICTNESS = 1 << 11, UTF8 = 65001 };

static Compile old;
static DxcCompiler *new;

/* Compiles a text and prints what the compiler says if it refuses it. Returns whether it did not. */
static int compiles_old(const char *text, size_t size) {
    ID3D10Blob *code = NULL, *says = NULL;
    HRESULT result = old(text, size, NULL, NULL, NULL, "main", "cs_5_1", ENABLE_STRICTNESS, 0, &code, &says);
    if (FAILED(result)) {
        printf("%08lx %s\n", (unsigned long)result, says ? (char *)ID3D10Blob_GetBufferPointer(says) : "");
    }
    if (code) ID3D10Blob_Release(code);
    if (says) ID3D10Blob_Release(says);
    return SUCCEEDED(result);
}

static int compiles_new(const char *text, size_t size) {
    LPCWSTR arguments[] = {L"-E", L"main", L"-T", L"cs_6_2", L"-HV", L"2018", L"-no-warnings", L"-Ges",
                           L"-enable-16bit-types"};
    DxcBuffer buffer = {text, size, UTF8};
    DxcResult *result = NULL;
    HRESULT status = new->table->Compile(new, &buffer, arguments, sizeof arguments / sizeof *arguments, NULL, &DXC_RESULT,
                                         (void **)&result);
    if (SUCCEEDED(status)) result->table->GetStatus(result, &status);
    if (FAILED(status)) {
        DxcBlob *says = NULL;
        if (result) result->table->GetErrorBuffer(result, &says);
        printf("%08lx %s\n", (unsigned long)status, says ? (char *)says->table->GetBufferPointer(says) : "");
        if (says) says->table->Release(says);
    }
    if (result) result->table->Release(result);
    return SUCCEEDED(status);
}

int main(int count, char **arguments) {
    HMODULE library = count == 2 ? LoadLibraryA(arguments[1]) : NULL;
    old = library ? (Compile)(void *)GetProcAddress(library, "D3DCompile") : NULL;
    Create create = library ? (Create)(void *)GetProcAddress(library, "DxcCreateInstance") : NULL;
    if (create) create(&DXC_COMPILER, &DXC_COMPILER3, (void **)&new);
    if (!old && !new) {
        fprintf(stderr, "no compiler in %s: error %lu\n", count == 2 ? arguments[1] : "no file", GetLastError());
        return 2;
    }
    int all = 1;
    char name[4096];
    while (fgets(name, sizeof name, stdin)) {
        name[strcspn(name, "\r\n")] = 0;
        FILE *file = fopen(name, "rb");
        static char text[1 << 22];
        size_t size = file ? fread(text, 1, sizeof text, file) : 0;
        if (file) fclose(file);
        LARGE_INTEGER hertz, begun, ended;
        QueryPerformanceFrequency(&hertz);
        QueryPerformanceCounter(&begun);
        int well = size > 0 && size < sizeof text && (old ? compiles_old : compiles_new)(text, size);
        QueryPerformanceCounter(&ended);
        printf("%.1f %s%s\n", 1e3 * (ended.QuadPart - begun.QuadPart) / hertz.QuadPart, name, well ? "" : " REFUSED");
        fflush(stdout);
        all &= well;
    }
    return !all;
}
